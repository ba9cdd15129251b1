"""Erased people do not come back: not by replays, claimed times, aliases or other spellings of their id."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from temporalio.testing import ActivityEnvironment

from activities.erasures import ErasureActivities
from database.customers import Identity
from database.erasures import Erasure
from database.events import Event
from domain.erasures import ErasureInput
from domain.events import EventKind
from domain.imports import ImportFormat, ImportKind
from tests.triggers.shop import Shop
from tests.triggers.test_erasures import erase
from triggers.erasures import request_erasure
from triggers.importing import import_rows


async def carry_out(shop: Shop, job: Erasure) -> None:
    """What the workflow does to rows; there is no Temporal here."""
    activities = ErasureActivities(shop.database, None)  # type: ignore[arg-type]  # rows only
    await ActivityEnvironment().run(activities.remove_records, ErasureInput(erasure_id=job.id))


async def known(shop: Shop) -> set[str]:
    async with shop.database.read() as session:
        return set(await session.scalars(select(Identity.value)))


async def pending(shop: Shop) -> int:
    async with shop.database.read() as session:
        return await session.scalar(select(func.count()).where(Event.status == "pending")) or 0


async def test_a_message_that_was_taken_before_is_no_news_whatever_time_it_claims(shop: Shop) -> None:
    await shop.identify(message_id="first", anonymous_id="browser", user_id="u-1")
    await shop.track("Page Viewed", message_id="second", user_id=None, anonymous_id="browser")
    await carry_out(shop, await erase(shop))
    shop.later(days=30)

    await shop.identify(message_id="first")
    await shop.track("Page Viewed", message_id="second", user_id=None, anonymous_id="browser")

    assert (await known(shop), await pending(shop)) == (set(), 0)


async def test_a_replay_stays_out_also_after_the_person_came_back(shop: Shop) -> None:
    await shop.track("Order Completed", {"order_id": "o-1", "total": 10}, message_id="first")
    await carry_out(shop, await erase(shop))
    shop.later(days=30)
    await shop.identify({"first_name": "Ann"})

    await shop.track("Order Completed", {"order_id": "o-1", "total": 10}, message_id="first")

    events = await shop.events_of((await shop.customer()).id)
    assert [event.name for event in events] == ["Identified"]


async def test_what_waited_unrouted_is_known_again_too(shop: Shop) -> None:
    await shop.identify()
    await shop.post(shop.event("Product Added", message_id="third"))
    await erase(shop)
    shop.later(days=1)

    await shop.track("Product Added", message_id="third")

    assert await known(shop) == set()


@pytest.mark.parametrize("claim", [{"sent": -5}, {"sent_timestamp": -5}])
async def test_what_was_sent_before_the_erasure_is_old_whatever_time_a_corrected_clock_gives_it(
    shop: Shop, claim: dict[str, int]
) -> None:
    await shop.identify()
    await erase(shop)
    before = shop.now - timedelta(minutes=5)
    shop.later(days=1)
    given: dict[str, Any] = {"sent": before} if "sent" in claim else {"sent_timestamp": before.isoformat()}

    await shop.identify({"city": "Bonn"}, **given)

    assert await known(shop) == set()


@pytest.mark.parametrize(("user_id", "previous_id"), [("u-2", "u-1"), ("u-1", "u-2")])
@pytest.mark.parametrize("is_late", [True, False])
async def test_no_alias_brings_an_erased_id_back(shop: Shop, user_id: str, previous_id: str, *, is_late: bool) -> None:
    await shop.identify()
    await shop.identify(user_id="u-2")
    happened = shop.now
    await erase(shop)
    shop.later(days=1)

    when: dict[str, Any] = {"timestamp": happened} if is_late else {}
    await shop.post(shop.event(kind=EventKind.ALIAS, user_id=user_id, previous_id=previous_id, **when))
    await shop.route()

    assert (await known(shop), await pending(shop)) == ({"u-2"}, 0)


async def test_an_alias_that_races_the_erasure_brings_nobody_back(shop: Shop) -> None:
    await shop.identify()
    await shop.identify(user_id="u-2")
    await shop.post(shop.event(kind=EventKind.ALIAS, user_id="u-2", previous_id="u-1"))

    async with shop.database.transaction() as session:
        await request_erasure(session, (await shop.customer()).id, by="key", as_of=shop.now)
        await shop.route()  # while the erasure is not committed
    await shop.route()

    assert (await known(shop), await pending(shop)) == ({"u-2"}, 0)


async def test_an_alias_is_an_alias_again_once_the_shop_knows_the_person_anew(shop: Shop) -> None:
    await shop.identify()
    await erase(shop)
    shop.later(days=1)
    await shop.identify()
    await shop.post(shop.event(kind=EventKind.ALIAS, user_id="u-2", previous_id="u-1"))
    await shop.route()

    assert await known(shop) == {"u-1", "u-2"}
    assert await shop.customer_count() == 2  # the tombstone of the erased one, and the new one


UNSEEN = ["\u200b", "\u00ad", "\u2060", "\ufeff", "\u200e", "\u3164", "\u2800", "\ufe0f", "\U000e0020"]
SPELLINGS = [
    *("ANN@Shop.example", " ann@shop.example", "ann@shop.example\t", "\uff41nn@shop.example"),
    *(f"ann@shop.example{unseen}" for unseen in UNSEEN),
    *(f"{unseen}ann@shop.example" for unseen in UNSEEN),
    "an\u200bn@shop.example",
    "\ufeff ANN@shop.example\u200b ",
]


async def test_another_spelling_of_an_erased_id_is_that_id_for_imports(shop: Shop) -> None:
    await shop.identify(user_id="ann@shop.example")
    await erase(shop, "ann@shop.example")
    rows = [json.dumps({"user_id": spelling, "city": "Bonn"}) for spelling in SPELLINGS]
    as_of = shop.now + timedelta(days=1)

    report = await import_rows(shop.database, ImportKind.CUSTOMERS, rows, ImportFormat.JSON_LINES, as_of=as_of)

    assert [each.code for each in report.problems] == ["erased"] * len(SPELLINGS)


async def test_another_spelling_of_an_erased_id_brings_nothing_of_before_back(shop: Shop) -> None:
    await shop.identify(user_id="ann@shop.example", anonymous_id="Browser-1")
    await shop.identify(user_id="u-2")
    happened = shop.now
    await erase(shop, "ann@shop.example")
    shop.later(days=1)

    for spelling in SPELLINGS:
        await shop.post(shop.event(kind=EventKind.IDENTIFY, user_id=spelling, timestamp=happened))
        await shop.post(shop.event(kind=EventKind.ALIAS, user_id="u-2", previous_id=spelling))
        await shop.post(shop.event(kind=EventKind.ALIAS, user_id=spelling, previous_id="u-2"))
    for spelling in ("browser-1", "Browser-1\u200b"):
        await shop.post(shop.event(user_id=None, anonymous_id=spelling, timestamp=happened))
    await shop.route()

    assert (await known(shop), await pending(shop)) == ({"u-2"}, 0)


async def test_somebody_who_lives_under_an_id_like_an_erased_one_is_left_alone(shop: Shop) -> None:
    await shop.identify(user_id="abc")
    await shop.identify(user_id="ABC")
    await erase(shop, "abc")
    rows = ['{"user_id": "ABC", "city": "Bonn"}']
    shop.later(days=1)

    report = await import_rows(shop.database, ImportKind.CUSTOMERS, rows, ImportFormat.JSON_LINES, as_of=shop.now)
    await shop.route()

    assert (report.imported, report.problems) == (1, [])
    assert (await shop.customer("ABC")).traits == {"city": "Bonn"}


async def test_another_id_with_an_erased_persons_address_is_reported(shop: Shop) -> None:
    await shop.identify({"email": "ann@shop.example"})
    await erase(shop)
    rows = ['{"user_id": "u-7", "email": "Ann@Shop.example"}', '{"user_id": "u-8", "email": "bob@shop.example"}']

    report = await import_rows(
        shop.database, ImportKind.CUSTOMERS, rows, ImportFormat.JSON_LINES, as_of=shop.now + timedelta(days=1)
    )

    assert [(each.row, each.code) for each in report.problems] == [(1, "erased_address")]
    assert (report.imported, report.refused) == (2, 0)
