"""A restored database gives nobody mail who had asked for none, and brings nobody back who was erased (G32)."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import insert, select
from typer.testing import CliRunner

from connectors.journal_folder import JournalFolder
from database.consent import standing
from database.customers import Identity
from database.erasures import IdentityRef, erased_since
from database.forgotten_suppressions import sent_before_done_again
from database.guarantees import QUESTIONS, offenders
from database.messages import Message
from database.restore_journal import unwritten
from database.secrets import PSEUDONYMS, secret
from database.session import Database
from database.suppressions import suppress, suppressions_of
from domain.events import EventKind
from domain.ids import new_id
from domain.pseudonyms import address_pseudonym
from perennial.cli import app
from perennial.doctor_restore import examine_journal
from tests.factories import make_customer
from tests.restoring import consent, dumped, restored, shop_of, state_of
from tests.triggers.shop import Shop
from triggers.journal_keeping import JournalKeeper
from triggers.restoring import missing_lines, replay

cli = CliRunner()


async def _hash_of(database: Database, address: str) -> bytes:
    async with database.transaction() as session:
        return address_pseudonym(await secret(session, PSEUDONYMS), "email", address)


@pytest.mark.slow
async def test_what_people_asked_for_after_the_backup_is_done_again_after_a_restore(
    client: httpx.AsyncClient, database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ann", "bob", "cem"):
        await make_customer(database, name, traits={"email": f"{name}@example.com"})
        await consent(client, name, "subscribed")
    backup = await dumped(database_url, tmp_path)
    journal = JournalFolder(tmp_path / "journal")

    await consent(client, "ann", "unsubscribed")
    assert (await client.delete("/v1/customers/bob")).status_code == 202
    await make_customer(database, "dora", traits={"email": "dora@example.com"})  # whom the backup does not know
    await consent(client, "dora", "unsubscribed", address="dora@example.com")
    as_of = datetime.now(UTC)
    async with database.transaction() as session:
        await suppress(session, "email", ["eve@example.com"], reason="complaint", at=as_of)
    await JournalKeeper(database, journal).write()

    async with restored(database_url, backup) as old, shop_of(old) as shop:
        assert (await shop.get("/v1/customers/bob")).status_code == 200
        assert await state_of(shop, "ann") == "subscribed"
        monkeypatch.setenv("PERENNIAL_DATABASE_URL", old.url)
        ran = await asyncio.to_thread(cli.invoke, app, ["restore", "replay", str(journal.folder)])
        again = await asyncio.to_thread(cli.invoke, app, ["restore", "replay", str(journal.folder)])

        assert ran.exit_code == 0, ran.output
        assert re.search(r"1 erasures, 2 withdrawals", ran.output), ran.output
        nothing = "Done again: 0 erasures, 0 withdrawals, 0 suppressions, 0 releases, 0 restrictions."
        assert nothing in " ".join(again.output.split())
        assert await state_of(shop, "ann") == "unsubscribed"
        assert await state_of(shop, "cem") == "subscribed"
        assert (await shop.get("/v1/customers/bob")).status_code == 404
        async with old.transaction() as session:
            assert await erased_since(session, [IdentityRef("user", "bob")])
            assert list(await suppressions_of(session, "email", ["eve@example.com"], as_of)) == ["eve@example.com"]
        async with old.read() as session:  # whoever has her address later
            (withdrawal,) = await standing(session, new_id(), await _hash_of(old, "dora@example.com"))
        assert withdrawal.state == "unsubscribed"


@pytest.mark.slow
async def test_a_restore_undoes_neither_a_restriction_nor_that_it_was_lifted(
    client: httpx.AsyncClient, database: Database, database_url: str, tmp_path: Path
) -> None:
    for name in ("ann", "bob", "cem"):
        await make_customer(database, name)
    why, ground = {"reason": "secret reason"}, {"reason": "accuracy"}
    assert (await client.put("/v1/customers/bob/restriction", json=why)).status_code == 200
    backup, journal = await dumped(database_url, tmp_path), JournalFolder(tmp_path / "journal")
    assert (await client.put("/v1/customers/ann/restriction", json=why)).status_code == 200
    assert (await client.put("/v1/customers/cem/restriction", json=ground)).status_code == 200
    assert (await client.delete("/v1/customers/bob/restriction")).status_code == 204
    await JournalKeeper(database, journal).write()

    async with restored(database_url, backup) as old, shop_of(old) as shop:
        done, again = [await replay(old, journal, datetime.now(UTC)) for _ in range(2)]

        restrictions = {
            name: (await shop.get(f"/v1/customers/{name}")).json()["restriction"] for name in ("ann", "bob", "cem")
        }
    assert (done.restrictions, again.count) == (3, 0)
    assert restrictions["ann"]["reason"] == "restricted before the database was restored"
    assert restrictions["bob"] is None
    assert restrictions["cem"]["reason"] == "accuracy"
    assert "secret" not in "".join(file.read_text() for file in journal.folder.glob("*.jsonl"))


@pytest.mark.slow
async def test_a_restore_suppresses_no_address_again_that_staff_let_be_written_to(
    client: httpx.AsyncClient, database: Database, database_url: str, tmp_path: Path
) -> None:
    """Before and after the backup; who was suppressed again after the release stays so."""
    at = datetime.now(UTC)
    before, after, again = (f"{name}@example.com" for name in ("before", "after", "again"))
    async with database.transaction() as session:
        await suppress(session, "email", [before, again], reason="hard_bounce", at=at)
    backup, journal = await dumped(database_url, tmp_path), JournalFolder(tmp_path / "journal")
    async with database.transaction() as session:
        await suppress(session, "email", [after], reason="hard_bounce", at=at)
    for row in (await client.get("/v1/suppressions")).json()["data"]:
        await client.post(f"/v1/suppressions/{row['id']}/release", json={"reason": "it works again, says Ann"})
    async with database.transaction() as session:
        await suppress(session, "email", [again], reason="hard_bounce", at=datetime.now(UTC))
    await JournalKeeper(database, journal).write()

    async with restored(database_url, backup) as old, shop_of(old) as shop:
        done, repeated = [await replay(old, journal, datetime.now(UTC)) for _ in range(2)]
        standing = [row["address"] for row in (await shop.get("/v1/suppressions")).json()["data"]]
        async with old.read() as session:
            found = await suppressions_of(session, "email", [before, after, again], datetime.now(UTC))

    assert (done.suppressions, done.releases, repeated.count) == (2, 3, 0)
    assert (len(standing), list(found)) == (1, [again])
    assert "Ann" not in "".join(file.read_text() for file in journal.folder.glob("*.jsonl"))


@pytest.mark.slow
async def test_a_release_after_the_restore_is_newer_than_a_suppression_before_it(
    client: httpx.AsyncClient, database: Database, database_url: str, tmp_path: Path
) -> None:
    async with database.transaction() as session:
        await suppress(session, "email", ["ann@example.com"], reason="hard_bounce", at=datetime.now(UTC))
    (row,) = (await client.get("/v1/suppressions")).json()["data"]
    backup, journal = await dumped(database_url, tmp_path), JournalFolder(tmp_path / "journal")
    await client.post(f"/v1/suppressions/{row['id']}/release", json={"reason": "works"})
    async with database.transaction() as session:
        await suppress(session, "email", ["ann@example.com"], reason="hard_bounce", at=datetime.now(UTC))
    await JournalKeeper(database, journal).write()

    async with restored(database_url, backup) as old, shop_of(old) as shop:
        await shop.post(f"/v1/suppressions/{row['id']}/release", json={"reason": "works, again"})
        await replay(old, journal, datetime.now(UTC))
        assert (await shop.get("/v1/suppressions")).json()["data"] == []


@pytest.mark.slow
async def test_what_somebody_new_asked_for_without_an_address_holds_as_soon_as_the_shop_names_them_again(
    client: httpx.AsyncClient, database: Database, database_url: str, tmp_path: Path
) -> None:
    """The record of the call and the event that it tells of itself are one withdrawal."""
    backup, journal = await dumped(database_url, tmp_path), JournalFolder(tmp_path / "journal")
    for name in ("dora", "eva", "fay"):
        await make_customer(database, name)
    here = Shop(database, now=datetime.now(UTC))
    await here.post(here.event(kind=EventKind.ALIAS, user_id="dora", previous_id="dolly"))
    await here.post(here.event(user_id="dora", anonymous_id="shared-browser", name="Product Viewed"))
    await here.route()
    await consent(client, "dora", "unsubscribed")
    for name in ("eva", "fay"):
        ground = {"reason": "accuracy"}
        assert (await client.put(f"/v1/customers/{name}/restriction", json=ground)).status_code == 200
    assert (await client.delete("/v1/customers/fay/restriction")).status_code == 204
    await Shop(database, now=datetime.now(UTC)).route()
    await JournalKeeper(database, journal).write()

    async with restored(database_url, backup) as old, shop_of(old) as api:
        done, again = [await replay(old, journal, datetime.now(UTC)) for _ in range(2)]
        shop = Shop(old, now=datetime.now(UTC))
        for _ in range(2):
            told: dict[str, Any] = {
                "traits": {"email": "dora@example.com"},
                "context": {"consent": {"marketing": "subscribed"}},
            }
            await shop.post(*(shop.event(kind=EventKind.IDENTIFY, user_id=name, **told) for name in ("dora", "eva")))
            await shop.post(shop.event(kind=EventKind.IDENTIFY, user_id="fay"))
            await shop.post(shop.event(kind=EventKind.IDENTIFY, user_id="dolly"))
            await shop.post(shop.event(kind=EventKind.IDENTIFY, user_id="gus", anonymous_id="shared-browser"))
            await shop.route()

        assert (done.count, done.awaited, done.lost, again.awaited, again.lost) == (0, 4, 0, 0, 0)
        assert await state_of(api, "dora") == "unsubscribed"
        assert await state_of(api, "dolly") == "unsubscribed"  # two customers again, as their merge was lost
        assert (await api.get("/v1/customers/gus/consent")).json()["data"] == []
        restrictions = {
            name: (await api.get(f"/v1/customers/{name}")).json()["restriction"] for name in ("dora", "eva", "fay")
        }
    assert restrictions["eva"]["reason"] == "accuracy"
    assert (restrictions["dora"], restrictions["fay"]) == (None, None)


@pytest.mark.slow
async def test_a_withdrawal_that_an_earlier_release_journalled_without_an_address_or_id_is_counted_once_as_lost(
    client: httpx.AsyncClient, database: Database, database_url: str, tmp_path: Path
) -> None:
    backup, journal = await dumped(database_url, tmp_path), JournalFolder(tmp_path / "journal")
    await make_customer(database, "dora")
    await consent(client, "dora", "unsubscribed")
    async with database.read() as session:
        lines = await unwritten(session, 10)
    await asyncio.to_thread(journal.append, lines)

    async with restored(database_url, backup) as old:
        done, again = [await replay(old, journal, datetime.now(UTC)) for _ in range(2)]

    assert (done.withdrawals, done.awaited, done.lost, again.lost) == (0, 0, 1, 0)


async def test_the_journal_names_nobody_and_stands_a_crash_in_the_middle_of_a_line(
    client: httpx.AsyncClient, database: Database, tmp_path: Path
) -> None:
    journal, keeper = JournalFolder(tmp_path), JournalKeeper(database, JournalFolder(tmp_path))
    await make_customer(database, "ann-of-the-garden", traits={"email": "ann@example.com"})
    await consent(client, "ann-of-the-garden", "unsubscribed")
    await keeper.write()
    (file,) = tmp_path.glob("*.jsonl")
    with file.open("ab") as torn:
        torn.write(b'{"id": "01')
    assert (await client.delete("/v1/customers/ann-of-the-garden")).status_code == 202
    written = await keeper.write()

    content = file.read_text()
    missing, unreadable = await missing_lines(database, journal)
    assert written > 0
    assert "garden" not in content
    assert "example" not in content
    assert (missing, unreadable) == ([], [f"{file}, line 2"])
    assert [each.offenders for each in await examine_journal(database, tmp_path, datetime.now(UTC))] == [
        [],
        [],
        unreadable,
    ]
    assert (await replay(database, journal, datetime.now(UTC))).count == 0
    assert file.stat().st_mode & 0o077 == 0


async def test_a_disk_that_cannot_be_written_loses_no_line(
    client: httpx.AsyncClient, database: Database, tmp_path: Path
) -> None:
    (tmp_path / "journal").touch()  # a file where the folder belongs
    await make_customer(database, "ann", traits={"email": "ann@example.com"})
    await consent(client, "ann", "unsubscribed")
    with pytest.raises(OSError, match="journal"):
        await JournalKeeper(database, JournalFolder(tmp_path / "journal")).write()
    (tmp_path / "journal").unlink()

    assert await JournalKeeper(database, JournalFolder(tmp_path / "journal")).write() == 1


@pytest.mark.slow
async def test_doctor_names_mail_that_left_before_a_withdrawal_or_restriction_was_done_again(
    client: httpx.AsyncClient, database: Database, database_url: str, tmp_path: Path
) -> None:
    people = {name: (await make_customer(database, name)) for name in ("ann", "bob", "cem")}
    for name in people:
        await consent(client, name, "subscribed")
    backup, journal = await dumped(database_url, tmp_path), JournalFolder(tmp_path / "journal")
    await consent(client, "ann", "unsubscribed")
    assert (await client.put("/v1/customers/bob/restriction", json={"reason": "objection"})).status_code == 200
    await JournalKeeper(database, journal).write()
    called_at = datetime.now(UTC) + timedelta(seconds=2)

    async with restored(database_url, backup) as old:
        sent = {name: await _sent(old, name, called_at) for name in people}
        await replay(old, journal, called_at + timedelta(seconds=30))
        async with old.read() as session:
            asked = [each for each in QUESTIONS if each.guarantee == "G19"]
            found = [await offenders(session, each, called_at + timedelta(minutes=1)) for each in asked]

    assert found == [[], [sent["ann"]], [sent["bob"]]]


@pytest.mark.slow
async def test_doctor_names_mail_to_an_address_whose_suppression_a_restore_had_undone(
    client: httpx.AsyncClient, database: Database, database_url: str, tmp_path: Path
) -> None:
    for name in ("ann", "bob", "cem"):
        await make_customer(database, name)
    await _hash_of(database, "ann@example.com")  # whose key the backup has
    backup, journal = await dumped(database_url, tmp_path), JournalFolder(tmp_path / "journal")
    async with database.transaction() as session:
        for address, cause in (("ann@example.com", "complaint"), ("dan@example.com", "objection")):
            await suppress(session, "email", [address], reason=cause, at=datetime.now(UTC))
    await JournalKeeper(database, journal).write()
    early = datetime.now(UTC) + timedelta(seconds=2)
    replayed, late = early + timedelta(seconds=30), early + timedelta(seconds=40)

    async with restored(database_url, backup) as old:
        before = await _sent(old, "ann", early, to="Ann@example.com")
        await _sent(old, "bob", early, to="bob@example.com")
        await _sent(old, "cem", early, to="dan@example.com", purpose="transactional")
        await replay(old, journal, replayed)
        await _sent(old, "ann", late, to="ann@example.com")  # which is the gate's to refuse
        async with old.read() as session:
            found = await sent_before_done_again(session, late - timedelta(days=32), 5)
    async with database.read() as session:
        of_the_first = await sent_before_done_again(session, late - timedelta(days=32), 5)

    assert (found, of_the_first) == ([before], [])


async def _sent(database: Database, user_id: str, called_at: datetime, **more: str) -> str:
    message_id = new_id()
    message = {"id": message_id, "channel": "email", "purpose": "marketing", "template": "news", "state": "accepted"}
    times = {"created_at": called_at, "attempting_at": called_at, "called_at": called_at}
    whose = select(Identity.customer_id).where(Identity.value == user_id).scalar_subquery()
    async with database.transaction() as session:
        await session.execute(insert(Message).values(**message | more, **times, customer_id=whose))
    return str(message_id)
