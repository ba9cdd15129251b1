"""What the product itself records and what is imported is marked by the way in, and never by a source's name."""

from __future__ import annotations

from sqlalchemy import select, text

from database.events import Event
from database.session import Database
from domain.events import EventKind
from tests.triggers.shop import Shop, abandoned_cart


async def test_a_key_called_perennial_cannot_start_a_journey_as_the_product_does(shop: Shop) -> None:
    await shop.publish(abandoned_cart(journey="welcome", enter={"on": {"event": "Signed Up"}}))

    for own in (False, True):
        asked = {"journey": "welcome"}
        await shop.track("", asked, kind=EventKind.START, source="perennial", own=own, user_id=f"u-{own}")

    assert len(await shop.runs("welcome")) == 1


async def test_a_key_called_import_is_no_import(shop: Shop) -> None:
    await shop.publish(abandoned_cart(journey="welcome", enter={"on": {"event": "Signed Up"}}))

    await shop.track("Signed Up", source="import", user_id="u-live")
    await shop.track("Signed Up", source="shop", user_id="u-past", is_history=True)

    assert len(await shop.runs("welcome")) == 1


async def test_rows_that_a_process_of_the_last_release_writes_are_marked_by_their_source(database: Database) -> None:
    async with database.transaction() as session:
        await session.execute(
            text("""
                INSERT INTO events (
                    id, source, message_id, kind, name, subject, user_id, timestamp, received_at, properties, traits,
                    context, trusted
                )
                SELECT gen_random_uuid(), source, source || trusted, 'track', 'Seen', 'u:ann', 'ann', now(), now(),
                    '{}', '{}', '{}', trusted
                FROM (VALUES ('perennial', true), ('perennial', false), ('import', true), ('shop', true))
                    AS row (source, trusted)
            """)
        )
    async with database.read() as session:
        rows = await session.execute(
            select(Event.message_id, Event.own, Event.is_history, Event.sent, Event.received_at)
        )
        marks = {row.message_id: (row.own, row.is_history, row.sent == row.received_at) for row in rows}

    assert marks == {
        "perennialtrue": (True, False, True),
        "perennialfalse": (False, False, True),
        "importtrue": (False, True, True),
        "shoptrue": (False, False, True),
    }
