"""What could silently be wrong with mails and erasures: the doctor shows it until somebody mends it, and no longer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select

from activities.messages import MessageActivities, SettleInput
from activities.pacing import Pacer
from activities.providers import Providers
from connectors.journal_folder import JournalFolder
from connectors.rendering import Renderer
from connectors.sendgrid import SendGridProvider
from database.consent import Consent
from database.customers import Customer
from database.events import Event, append
from database.messages import Message, Suppression
from database.provider_rates import ill_providers
from database.session import Database
from database.suppressions import suppress
from domain.events import EventKind, NewEvent
from domain.ids import new_id
from domain.journeys.library import DefinitionLibrary
from perennial.doctor import examine
from perennial.doctor_restore import examine_journal
from tests.factories import make_customer
from tests.fake_sendgrid import Reply, fake_sendgrid
from tests.proofs.workers import two_workers
from tests.sending import PUBLIC_URL, ScriptedProvider, ScriptedWebhooks, add_customer, add_run
from tests.task_queue import TaskQueue
from triggers.journal_keeping import JournalKeeper


def now() -> datetime:
    return datetime.now(UTC)


async def crosses(database: Database, *, after: timedelta = timedelta()) -> list[str]:
    """The promises that the doctor finds broken now, or would find so after a while."""
    verdicts = await examine(database, now() + after, email_per_second=50, provider="smtp")
    return [verdict.promise for verdict in verdicts if not verdict.is_kept]


async def message(database: Database, customer_id: UUID, **columns: Any) -> UUID:
    """A row as some process left it."""
    given = {"channel": "email", "purpose": "marketing", "template": "t", "state": "accepted", "created_at": now()}
    message_id = new_id()
    async with database.transaction() as session:
        session.add(Message(id=message_id, customer_id=customer_id, **given | columns))
    return message_id


async def upkeep(database: Database) -> None:
    """Upkeep's look at messages, which a worker makes every ten minutes."""
    activities = MessageActivities(
        database,
        DefinitionLibrary(lambda _journey, _version: None),
        Renderer(processes=1),
        Providers(ScriptedProvider(), ScriptedWebhooks()),
        Pacer(database, {}),
        public_url=PUBLIC_URL,
    )
    await activities.settle_messages(SettleInput(as_of=now()))


async def test_a_message_that_a_crash_left_half_sent_is_shown_until_upkeep_has_settled_it(database: Database) -> None:
    begun = now() - timedelta(hours=2)
    times = {"created_at": begun, "attempting_at": begun, "attempts": [{"outcome": "attempting"}]}
    await message(database, await make_customer(database, "ann"), state="attempting", **times)
    before = await crosses(database)

    await upkeep(database)

    assert (before, await crosses(database)) == (["no message is half sent for longer than an hour"], [])


async def test_a_message_that_stands_in_line_without_a_run_is_shown_until_upkeep_has_ended_it(
    database: Database,
) -> None:
    claimed = now() - timedelta(days=4)
    async with database.transaction() as session:
        customer_id = await add_customer(session, "ann")
        run_id = await add_run(session, customer_id, state="exited", entered_at=claimed, ended_at=claimed)
    await message(database, customer_id, state="claimed", run_id=run_id, step="s", visit=1, created_at=claimed)
    before = await crosses(database)

    await upkeep(database)

    assert (before, await crosses(database)) == (["no message stands in line past its time"], [])


async def test_an_address_that_an_earlier_release_silenced_for_a_full_mailbox_is_shown_until_it_is_released(
    client: httpx.AsyncClient, database: Database
) -> None:
    customer_id = await make_customer(database, "ann", traits={"email": "ann@example.com"})
    refused = [{"outcome": "rejected", "status": 552, "error": "smtp_552"}]
    message_id = await message(database, customer_id, state="rejected", attempts=refused)
    async with database.transaction() as session:
        await suppress(session, "email", ["ann@example.com"], reason="hard_bounce", at=now(), message_id=message_id)
    before = await crosses(database)
    async with database.read() as session:
        suppression_id = await session.scalar(select(Suppression.id))

    released = await client.post(f"/v1/suppressions/{suppression_id}/release", json={"reason": "it was full"})

    assert released.status_code == 200
    assert before == ["every address suppressed as a hard bounce was said not to exist"]
    assert await crosses(database) == []


async def test_a_mail_that_left_on_a_nightly_sync_after_a_withdrawal_is_shown_for_a_month(database: Database) -> None:
    customer_id = await make_customer(database, "ann", traits={"email": "ann@example.com"})
    for state, source, days in (("unsubscribed", "preferences", 3), ("subscribed", "import", 2)):
        await consented(database, customer_id, state, source, now() - timedelta(days=days))
    yesterday = now() - timedelta(days=1)
    await message(database, customer_id, created_at=yesterday, attempting_at=yesterday, called_at=yesterday)

    assert await crosses(database) == ["no provider was called for marketing after consent had been withdrawn"]
    assert await crosses(database, after=timedelta(days=32)) == []


async def consented(database: Database, customer_id: UUID, state: str, source: str, at: datetime) -> None:
    """As an earlier release wrote it."""
    event = NewEvent(
        id=new_id(),
        source="shop",
        message_id=f"{state}-{at}",
        kind=EventKind.TRACK,
        name="Consent",
        user_id="ann",
        timestamp=at,
        received_at=at,
        trusted=True,
    )
    said = {"purpose": "marketing", "channel": "email", "state": state, "source": source, "evidence": {}}
    async with database.transaction() as session:
        await append(session, [event])
        session.add(Consent(id=new_id(), customer_id=customer_id, at=at, sent=at, event_id=event.id, **said))
    async with database.transaction() as session:
        told = await session.get_one(Event, event.id)
        told.status, told.routed_at = "routed", at


async def test_a_provider_that_redirects_is_shown_as_broken_when_it_lasts_until_it_takes_messages_again(
    database: Database,
) -> None:
    with fake_sendgrid() as fake:
        fake.mood = Reply(301, {"Location": "http://127.0.0.1:1/"})
        provider = SendGridProvider("SG.test", host=fake.url, timeout=30)
        async with two_workers(database, [provider], 50) as (shop, workers):
            async with shop.database.transaction() as session:
                customer_id = await add_customer(session, "ann")
                run_id = await add_run(session, customer_id, journey="receipts", first_run_id="x", entered_at=now())
            queue = TaskQueue()
            queue.add(run_id, is_receipt=True)
            async with queue.served(workers, places=1):
                await ails(database, "http_301")
                at_once, later = await crosses(database), await crosses(database, after=timedelta(minutes=20))
                fake.mood = None
                await queue.finished([run_id], within=120)
        provider.close()

    assert (at_once, later) == ([], ["providers take messages"])
    assert await crosses(database, after=timedelta(minutes=20)) == []


async def ails(database: Database, trouble: str) -> None:
    """Wait until that ails a provider."""
    async with asyncio.timeout(120):
        while True:
            async with database.read() as session:
                if [each.trouble for each in await ill_providers(session)] == [trouble]:
                    return
            await asyncio.sleep(0.05)


async def test_somebody_whom_a_late_alias_named_again_is_shown_until_the_id_is_erased_once_more(
    client: httpx.AsyncClient, database: Database
) -> None:
    customer_id = await make_customer(database, "ann")
    async with database.transaction() as session:  # as a race of an earlier release left it
        customer = await session.get_one(Customer, customer_id)
        customer.erased_at, customer.external_id = now() - timedelta(hours=2), None
    before = await crosses(database)

    erased = await client.delete("/v1/customers/ann")

    assert erased.status_code == 202, erased.text
    assert (before, await crosses(database)) == (["nobody who was erased is known again"], [])


async def test_a_journal_that_cannot_be_written_is_shown_until_it_is_written(
    client: httpx.AsyncClient, database: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "journal"
    folder.touch()  # a file where the folder belongs
    await make_customer(database, "ann", traits={"email": "ann@example.com"})
    withdrawn = {"purpose": "marketing", "channel": "email", "state": "unsubscribed"}
    assert (await client.put("/v1/customers/ann/consent", json=withdrawn)).status_code == 200
    with pytest.raises(OSError, match="journal"):
        await JournalKeeper(database, JournalFolder(folder)).write()
    folder.unlink()
    before = await unwritten(database, folder)

    await JournalKeeper(database, JournalFolder(folder)).write()

    assert (before, await unwritten(database, folder)) == (
        ["what a restore must not undo is kept outside the database"],
        [],
    )


async def unwritten(database: Database, folder: Path) -> Sequence[str]:
    """What the doctor finds broken about the journal some minutes from now."""
    verdicts = await examine_journal(database, folder, now() + timedelta(minutes=5))
    return [each.promise for each in verdicts if not each.is_kept]
