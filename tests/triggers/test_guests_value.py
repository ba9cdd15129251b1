"""G27: what a guest did is worth something to a customer once a trusted source says that it was theirs, not before."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from database.contests import ContestEntry, open_contest
from database.tiers import tiers_of
from domain.events import EventKind
from perennial.doctor import examine
from tests.challenging import TWO_ORDERS, completions, put_live
from tests.programmes import tiers
from tests.triggers.earning import ORDER, balance, buy, decided, open_programme
from tests.triggers.shop import Shop

BROWSER: dict[str, dict[str, Any]] = {
    "alias": {"kind": EventKind.ALIAS, "user_id": "mal", "previous_id": "a"},
    "identify": {"kind": EventKind.IDENTIFY, "user_id": "mal", "anonymous_id": "a"},
    "track": {"name": "Seen", "user_id": "mal", "anonymous_id": "a"},
}


async def say(shop: Shop, **given: Any) -> None:
    await shop.post(shop.event(**given))
    await shop.route()


async def points(shop: Shop, user_id: str = "mal") -> int:
    return (await balance(shop, user_id)).available


@pytest.mark.parametrize("link", BROWSER)
async def test_a_browser_takes_no_points_of_a_guest_by_saying_who_the_guest_was(shop: Shop, link: str) -> None:
    await open_programme(shop)
    await buy(shop, "o-1", 700, anonymous_id="a")
    shop.later(minutes=1)
    await say(shop, **BROWSER[link], trusted=False)
    shop.later(minutes=1)
    await buy(shop, "o-2", 70, anonymous_id="a")
    await say(shop, **BROWSER[link], trusted=False)
    assert await points(shop) == 0
    assert [each.reason for each in await decided(shop)] == ["guest", "guest"]

    shop.later(minutes=1)
    await say(shop, **BROWSER[link])  # the shop's own server says so too
    assert await points(shop) == 770
    await buy(shop, "o-3", 7, anonymous_id="a")
    assert await points(shop) == 777


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "in one batch"])
async def test_a_guests_points_come_once_whether_the_browser_or_the_shop_links_first(
    shop: Shop, together: bool
) -> None:
    await open_programme(shop)
    await buy(shop, "o-1", 700, anonymous_id="a")
    told = [shop.event(**BROWSER["identify"], trusted=trusted) for trusted in (True, False, True)]
    for events in [told] if together else [[each] for each in told]:
        await shop.post(*events)
        await shop.route()
    await buy(shop, "o-2", 70, anonymous_id="a")
    assert await points(shop) == 770


async def test_what_somebody_took_for_theirs_by_a_browser_earns_for_whom_the_shop_names(shop: Shop) -> None:
    await open_programme(shop)
    await buy(shop, "o-1", 700, anonymous_id="a")
    shop.later(minutes=1)
    await say(shop, **BROWSER["alias"], trusted=False)
    shop.later(minutes=1)
    await say(shop, **BROWSER["identify"] | {"user_id": "ann"}, timestamp=shop.now - timedelta(minutes=2))
    assert (await points(shop), await points(shop, "ann")) == (0, 700)


async def test_the_doctor_shows_what_earns_for_nobody_since_a_browser_said_first_whose_it_was(shop: Shop) -> None:
    await open_programme(shop)
    await buy(shop, "o-1", 700, anonymous_id="a")
    shop.later(minutes=1)
    await say(shop, **BROWSER["identify"], trusted=False)
    shop.later(minutes=1)
    await say(shop, **BROWSER["identify"] | {"user_id": "ann"})  # the earliest link keeps the history

    assert (await points(shop), await points(shop, "ann")) == (0, 0)
    verdicts = await examine(shop.database, shop.now, email_per_second=5, provider="smtp")
    [notice] = [each for each in verdicts if "guests' orders" in each.promise]
    assert list(notice.offenders) == ["o-1: only a browser says that it is mal's"]


async def test_a_customer_signed_in_earns_in_a_browser_that_nobody_vouches_for(shop: Shop) -> None:
    """The shop's server named the customer itself, so the link of the browser does not matter."""
    await open_programme(shop)
    await say(shop, **BROWSER["identify"], trusted=False)
    await shop.track(ORDER, {"order_id": "o-1", "subtotal": 5, "currency": "EUR"}, user_id="mal")
    assert await points(shop) == 5


async def spend(shop: Shop, order_id: str, **given: Any) -> None:
    """An order of 700 EUR that enters the contest, counts for the challenge and lifts to gold."""
    await shop.track(ORDER, {"order_id": order_id, "total": 700, "subtotal": 0, "currency": "EUR"}, **given)


async def standing(shop: Shop, user_id: str = "mal") -> tuple[str | None, int, int]:
    """The tier, the challenges completed, the entries of contests."""
    customer = await shop.customer(user_id)
    async with shop.database.read() as session:
        tier = (await tiers_of(session, [customer.id], shop.now))[customer.id]
        entries = await session.scalar(select(func.count()).select_from(ContestEntry))
    return tier, len(await completions(shop)), entries or 0


@pytest.fixture
async def rich_shop(shop: Shop) -> Shop:
    """A shop with points, tiers by spend, a challenge of two orders and a contest."""
    await open_programme(shop, tiers=tiers())
    await put_live(shop, "challenge", TWO_ORDERS | {"refunds": "revoke"})
    entries = [{"rule": "order", "on": {"event": ORDER}}]
    await put_live(shop, "contest", {"contest": "summer", "closes": "2026-07-04", "entries": entries})
    async with shop.database.transaction() as session:
        await open_contest(session, "summer", shop.now)
    return shop


@pytest.mark.parametrize("link", BROWSER)
@pytest.mark.parametrize("first", ["the link", "the orders"])
async def test_a_browser_takes_no_tier_challenge_or_contest_of_a_guest(rich_shop: Shop, link: str, first: str) -> None:
    shop = rich_shop
    if first == "the link":
        await say(shop, **BROWSER[link], trusted=False)
    for number in range(2):
        await spend(shop, f"o-{number}", anonymous_id="a")
        shop.later(minutes=1)
    await say(shop, **BROWSER[link], trusted=False)
    shop.later(minutes=1)
    await say(shop, name="Seen", user_id="mal", anonymous_id="b")  # something else makes the customer weighed
    tier, *others = await standing(shop)
    assert (tier in (None, "bronze"), others) == (True, [0, 0])

    await say(shop, **BROWSER[link])
    assert (await standing(shop))[:2] == ("gold", 1)
    await spend(shop, "o-3", anonymous_id="a")
    assert (await standing(shop))[2] == 1


async def test_a_guests_order_that_only_a_browser_links_enters_no_trusted_run(shop: Shop) -> None:
    await open_programme(shop)
    await shop.publish(
        {
            "journey": "thanks",
            "enter": {"on": {"event": ORDER}, "again": {"while_active": True}},
            "steps": [{"wait": {"for": "1h"}}],
        }
    )
    await say(shop, **BROWSER["identify"], trusted=False)
    await spend(shop, "o-1", anonymous_id="a")
    await spend(shop, "o-2", user_id="mal")
    assert [run.trusted for run in await shop.runs()] == [False, True]


async def test_what_a_guest_earned_for_one_customer_moves_to_the_one_who_was_there_earlier(rich_shop: Shop) -> None:
    shop = rich_shop
    for number in range(2):
        await shop.track(
            ORDER, {"order_id": f"o-{number}", "total": 700, "subtotal": 100, "currency": "EUR"}, anonymous_id="a"
        )
    shop.later(minutes=1)
    await say(shop, **BROWSER["identify"])
    assert (await points(shop), (await standing(shop))[:2]) == (250, ("gold", 1))

    await say(shop, **BROWSER["identify"] | {"user_id": "ann"}, timestamp=shop.now - timedelta(minutes=2))
    await say(shop, name="Seen", user_id="mal")
    assert (await points(shop), (await standing(shop))[0]) == (0, "bronze")
    assert (await points(shop, "ann"), (await standing(shop, "ann"))[0]) == (250, "gold")
