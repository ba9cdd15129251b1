"""Whose message ids are whose: sources are unique, reserved ones are ours, and a page never pre-empts a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from database import keys
from database.events import Event
from database.keys import Key
from database.session import Database
from domain.errors import Conflict
from domain.keys import KeyKind, Scope, read_id
from domain.own_events import OWN_EVENTS, is_own_name
from domain.sources import RESERVED, clashes, is_reserved
from perennial.doctor import examine
from perennial.embedded.keyring import ensure_keys
from tests.api.conftest import ApiServer
from tests.api.toy import make_key

EVENTS = frozenset({Scope.EVENTS_WRITE})
NOW = datetime.now(UTC)


async def refusal(database: Database, name: str, kind: KeyKind, **given: Any) -> str | None:
    try:
        async with database.transaction() as session:
            await keys.create(session, name, kind, EVENTS, **given)
    except Conflict as refused:
        return refused.code if refused.status == 409 else None
    return None


@pytest.mark.parametrize("kind", list(KeyKind))
@pytest.mark.parametrize("name", ["shop", "SHOP", " Shop ", "\uff33hop", "sh\u200bop", "s hop"])
async def test_no_two_keys_have_one_source_whatever_their_kinds_and_its_case(
    database: Database, name: str, kind: KeyKind
) -> None:
    for first in KeyKind:
        if await refusal(database, "shop", first) is None:
            assert await refusal(database, name, kind) == "source_taken"


IMPOSTORS = [
    "Perennial",
    " perennial",
    "p\u0435r\u0435nnial",
    "perennia1",
    "\u0410PI",
    "Im\u00adport",
    "META",
    "Send-Grid",
]


@pytest.mark.parametrize("name", [*sorted(RESERVED), *IMPOSTORS])
async def test_no_key_has_the_products_own_sources_or_what_is_read_as_one(database: Database, name: str) -> None:
    assert {await refusal(database, name, kind) for kind in KeyKind} == {"source_taken"}


@given(st.sampled_from(sorted(RESERVED)), st.data())
def test_reserved_sources_are_recognised_in_any_case_and_between_invisible_letters(
    name: str, data: st.DataObject
) -> None:
    letters = [data.draw(st.sampled_from([each, each.upper(), each + "\u200b", each + " "])) for each in name]
    assert is_reserved("".join(letters))


@pytest.mark.parametrize("name", ["shop", "website", "api-gateway", "imports", "metadata", "perennial-shop"])
def test_other_names_are_free(name: str) -> None:
    assert not is_reserved(name)


async def post(server: ApiServer, key: str, message_id: str, event: str) -> dict[str, Any]:
    body = {"batch": [{"type": "track", "userId": "ann", "event": event, "messageId": message_id}]}
    async with httpx.AsyncClient(base_url=server.url, auth=(key, ""), timeout=30) as client:
        answer: dict[str, Any] = (await client.post("/v1/batch", json=body)).json()
        return answer


async def revoked(database: Database, name: str, kind: KeyKind = KeyKind.SECRET) -> tuple[str, str]:
    """A key that was in use, in its written form and by its id."""
    written = await make_key(database, name, kind, Scope.EVENTS_WRITE)
    key_id = read_id(written) or ""
    async with database.transaction() as session:
        await keys.revoke(session, key_id, NOW)
    return written, key_id


async def test_a_key_that_replaces_a_revoked_one_takes_its_message_ids_over(
    api_server: ApiServer, database: Database
) -> None:
    old = await make_key(database, "backend", KeyKind.SECRET, Scope.EVENTS_WRITE)
    key_id = read_id(old) or ""
    assert (await post(api_server, old, "m-1", "Order Completed"))["accepted"] == 1
    assert await refusal(database, "backend-2", KeyKind.SECRET, replaces=key_id) == "key_not_revoked"
    async with database.transaction() as session:
        await keys.revoke(session, key_id, NOW)
    assert await refusal(database, "backend", KeyKind.SECRET) == "source_taken"

    async with database.transaction() as session:
        _, new = await keys.create(session, "backend-2", KeyKind.SECRET, EVENTS, replaces=key_id)

    again = await post(api_server, new, "m-1", "Order Completed")
    assert (again["accepted"], again["duplicates"]) == (0, 1)
    assert await refusal(database, "backend-3", KeyKind.SECRET, replaces=key_id) == "source_taken"


@pytest.mark.parametrize(("kind", "other"), [(KeyKind.SECRET, KeyKind.BROWSER), (KeyKind.BROWSER, KeyKind.SECRET)])
async def test_a_page_never_takes_a_servers_source_over_nor_the_other_way_round(
    database: Database, kind: KeyKind, other: KeyKind
) -> None:
    _, key_id = await revoked(database, "backend", kind)

    assert await refusal(database, "backend", other, replaces=key_id) == "key_kind_differs"


async def clashing(database: Database, source: str) -> tuple[str, str]:
    """A server's key and a browser's of one name, as keys could be made before names were unique."""
    server = await make_key(database, "backend", KeyKind.SECRET, Scope.EVENTS_WRITE)
    page = await make_key(database, "page", KeyKind.BROWSER, Scope.EVENTS_WRITE)
    async with database.transaction() as session:
        for written, name in ((server, "backend"), (page, source)):
            (await session.get_one(Key, read_id(written))).source = name
    return server, page


@pytest.mark.parametrize("source", ["backend", "Backend", "perennial"])
async def test_a_page_with_a_servers_name_cannot_preempt_what_the_server_says(
    api_server: ApiServer, database: Database, source: str
) -> None:
    server, page = await clashing(database, source)

    for key, event in ((page, "Seen"), (page, "Seen"), (server, "Order Completed")):
        await post(api_server, key, "m-1", event)

    async with database.read() as session:
        stored = await session.execute(select(Event.name, Event.source, Event.trusted).order_by(Event.id))
        assert [tuple(row) for row in stored] == [
            ("Seen", f"{source} (browser {read_id(page)})", False),
            ("Order Completed", "backend", True),
        ]


async def test_the_doctor_names_keys_that_shared_a_source_before_and_forgives_revoked_ones(
    database: Database,
) -> None:
    _, page = await clashing(database, "backend")

    async def found() -> list[str]:
        verdicts = await examine(database, NOW + timedelta(hours=1), email_per_second=2, provider="smtp")
        return [line for verdict in verdicts if verdict.guarantee == "G27" for line in verdict.offenders]

    assert any(str(read_id(page)) in line and "one source, backend" in line for line in await found())
    async with database.transaction() as session:
        await keys.revoke(session, read_id(page) or "", NOW)
    async with database.read() as reading:
        assert clashes(await keys.everything(reading)) == []


async def test_a_developers_keys_are_made_anew_when_their_file_is_lost(database: Database, tmp_path: Any) -> None:
    first = await ensure_keys(database.url, tmp_path / "keys.json")
    (tmp_path / "keys.json").unlink()

    second = await ensure_keys(database.url, tmp_path / "keys.json")

    async with database.read() as session:
        stored = {key.id: key for key in await keys.everything(session)}
    old, new = stored[read_id(first.write_key) or ""], stored[read_id(second.write_key) or ""]  # type: ignore[index]
    assert (old.source, old.revoked_at is None) == (new.source, False)


@pytest.mark.parametrize("name", sorted(OWN_EVENTS))
def test_the_products_own_names_are_recognised_however_they_are_written(name: str) -> None:
    look_alike = name.replace("e", "\u0435").replace("o", "\u043e")
    for written in (name, name.upper(), f"  {name.lower()} ", name.replace(" ", "_"), look_alike, name + "\u200b"):
        assert is_own_name(written)


@pytest.mark.parametrize("name", ["Order Completed", "Cart Abandoned", "Contest Entered", "Reward Wished For"])
def test_the_shops_names_are_its_own(name: str) -> None:
    assert not is_own_name(name)
