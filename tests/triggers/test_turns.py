"""G27: a browser takes no turn of a trusted customer: what it began gives way, and the trusted run gives the value."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from activities.audiences import AudienceActivities
from domain.audiences import DueDatesInput
from domain.events import EventKind
from tests.rewarding import balance_of, redemptions_of
from tests.triggers.shop import Shop
from tests.triggers.turns import AWARD, PAID, PAUSE, SUPERSEDED, UNDER_WAY, journey, pay, receipt, states, trusted_runs
from tests.triggers.walking import Walker
from triggers.live import LiveCache
from triggers.routing import Routing

AGAIN: dict[str, dict[str, Any]] = {
    "the same order": {},
    "one run at a time": {"again": {"while_active": False}},
    "a week apart": {"again": {"after": "7d"}},
    "once in a month": {"again": {"at_most": 1, "per": "30d", "while_active": True}},
}


@pytest.mark.parametrize("ended", [False, True], ids=["still active", "over already"])
@pytest.mark.parametrize("rule", AGAIN)
async def test_points_are_not_lost_because_a_browser_told_of_the_order_first(
    shop: Shop, walker: Walker, rule: str, *, ended: bool
) -> None:
    document = journey(PAUSE, AWARD, **AGAIN[rule]) | {"exit": [{"event": "Order Returned"}]}
    await shop.publish(document)
    await pay(shop, "o-1" if rule == "the same order" else "o-0", browser=True)
    if ended:
        await shop.track("Order Returned", trusted=False)
    shop.later(minutes=1)

    await pay(shop)

    [run] = await trusted_runs(shop)
    await walker.walk("gift", run.id)
    shop.later(hours=2)
    await walker.walk("gift", run.id)
    assert (await balance_of(shop.database, run.customer_id, shop.now)).available == 100
    [first, _] = await shop.runs()
    is_in_its_way = "while_active" not in AGAIN[rule].get("again", {}) or rule == "one run at a time"
    assert first.state == ("exited" if ended or is_in_its_way else "active")


async def test_what_gave_way_is_over_at_once_and_its_workflow_hears_of_it(shop: Shop, walker: Walker) -> None:
    await shop.publish(journey(PAUSE, AWARD))
    await pay(shop, browser=True)
    [first] = await shop.runs()
    await walker.walk("gift")

    await pay(shop)

    assert await states(shop) == [SUPERSEDED, UNDER_WAY]
    old, new = await shop.runs()
    assert (new.occasion, old.occasion, old.ended_at) == ("o-1", f"o-1 (superseded {old.id})", shop.now)
    assert new.workflow_id != old.workflow_id == first.workflow_id
    assert await walker.log(old) == {"pause": "cancelled"}


async def test_in_one_batch_the_shops_word_wins_in_either_order(shop: Shop, walker: Walker) -> None:
    await shop.publish(journey(PAUSE, AWARD))
    told = [shop.event(PAID, properties={"order_id": "o-1"}, trusted=trusted) for trusted in (False, True, False)]
    await shop.post(*told)
    await shop.route()
    assert await states(shop) == [SUPERSEDED, UNDER_WAY]
    assert len(await trusted_runs(shop)) == 1


@pytest.mark.parametrize("document", [journey(PAUSE, AWARD), receipt()], ids=["gift", "receipt"])
async def test_a_browser_is_kept_out_by_every_run(shop: Shop, walker: Walker, document: dict[str, Any]) -> None:
    await shop.publish(document)
    await pay(shop)
    await pay(shop, browser=True)
    await pay(shop, "o-2", browser=True)
    assert await states(shop) == [UNDER_WAY]
    assert [each.reason for each in await shop.decisions()] == [None, "occasion_taken", "already_active"]


async def test_the_shop_telling_of_an_order_twice_gives_once(shop: Shop, walker: Walker) -> None:
    await shop.publish(journey(AWARD, PAUSE))
    await pay(shop, browser=True)
    for _ in range(3):
        await pay(shop)
        shop.later(minutes=1)
    assert await states(shop) == [SUPERSEDED, UNDER_WAY]


async def test_a_run_that_a_browser_led_astray_later_has_had_its_turn(shop: Shop, walker: Walker) -> None:
    way = {"branch": [{"if": {"did": "Review Written"}, "steps": []}], "id": "way"}
    await shop.publish(journey(AWARD, way, PAUSE))
    await shop.track("Review Written", trusted=False)
    await pay(shop)
    run = await walker.walk("gift")
    assert not run.trusted

    await pay(shop)

    assert await states(shop) == [UNDER_WAY]
    assert (await balance_of(shop.database, run.customer_id, shop.now)).available == 100


async def test_an_order_that_two_customers_had_before_they_merged_gives_once(shop: Shop, walker: Walker) -> None:
    await shop.publish(journey(AWARD))
    await pay(shop, user_id="new", browser=True)
    shop.later(minutes=1)
    await pay(shop, user_id="old")
    await shop.post(shop.event(kind=EventKind.ALIAS, user_id="new", previous_id="old"))
    await shop.route()
    shop.later(minutes=1)

    await pay(shop, user_id="new")

    assert len(await shop.runs()) == 2


async def test_what_a_browser_made_true_does_not_push_a_browsers_run_aside(shop: Shop, walker: Walker) -> None:
    gold: dict[str, Any] = {"if": {"trait": "plan", "eq": "gold"}}
    await shop.publish(journey(PAUSE, AWARD, **gold))
    await shop.identify({"plan": "gold"}, trusted=False)
    await pay(shop, browser=True)
    await pay(shop)
    assert await states(shop) == [UNDER_WAY]


async def test_a_reward_that_the_shop_allows_to_browsers_is_given_once_for_one_order(
    shop: Shop, walker: Walker
) -> None:
    tea = {"reward": {"give": "free-tea", "untrusted": {"per_customer": 5}}, "id": "tea"}
    await shop.publish(journey(tea, again={"while_active": True}))
    await pay(shop, "o-0")
    await walker.walk("gift")
    await pay(shop, browser=True)
    await walker.walk("gift", (await shop.runs())[-1].id)

    await pay(shop)

    assert len(await shop.runs()) == 2
    assert len(await redemptions_of(shop.database)) == 2


async def test_a_guests_points_are_not_lost_because_a_browser_said_first_whose_the_order_was(
    shop: Shop, walker: Walker
) -> None:
    await shop.publish(journey(AWARD, PAUSE))
    await pay(shop, anonymous_id="a")
    for trusted in (False, True, True):
        shop.later(minutes=1)
        link = shop.event(kind=EventKind.IDENTIFY, user_id="ann", anonymous_id="a", trusted=trusted)
        await shop.post(link)
        await shop.route()
        if not trusted:
            [run] = await shop.runs()
            assert await walker.log(await walker.walk("gift")) == {"award": "untrusted", "pause": "waiting"}

    assert await states(shop) == [SUPERSEDED, UNDER_WAY]
    [run] = await trusted_runs(shop)
    await walker.walk("gift", run.id)
    assert (await balance_of(shop.database, run.customer_id, shop.now)).available == 100
    [decision] = await shop.decisions()
    assert decision.run_id == run.id


async def test_a_birthday_gift_is_not_lost_because_a_browser_entered_before(shop: Shop, walker: Walker) -> None:
    on = {"any": [{"event": "Gift Asked"}, {"date": {"trait": "birthday", "at": "09:00"}}]}
    await shop.publish(journey(PAUSE, AWARD, on=on, occasion=None, again={"at_most": 1, "per": "365d"}))
    await shop.identify({"birthday": "2026-05-05"})
    await shop.track("Gift Asked", trusted=False)
    shop.later(days=1)
    await AudienceActivities(shop.database).enter_due_dates(DueDatesInput(as_of=shop.now))
    await shop.route()
    assert [run.trusted for run in await shop.runs()] == [False, True]
    assert (await states(shop))[0] == SUPERSEDED


async def drain(shop: Shop) -> None:
    """A router of its own, as another process would run it, until nothing is pending."""
    routing = Routing(LiveCache())
    while True:
        async with shop.database.transaction() as session:
            if not (await routing.route(session, shop.now, 5)).seen:
                return
        await asyncio.sleep(0)


async def test_with_three_routers_at_once_every_customer_has_one_trusted_run(shop: Shop, walker: Walker) -> None:
    await shop.publish(journey(PAUSE, AWARD))
    people = [f"u-{number}" for number in range(30)]
    told = [
        shop.event(PAID, properties={"order_id": "o-1"}, user_id=user, trusted=trusted)
        for user in people
        for trusted in (False, True, False, True)
    ]
    await asyncio.gather(*(shop.post(event) for event in told), *(drain(shop) for _ in range(3)))
    await drain(shop)

    active = [run for run in await shop.runs() if run.state == "active"]
    assert len({run.customer_id for run in active}) == len(active) == len(people)
    assert all(run.trusted for run in active)
    assert {run.reason for run in await shop.runs()} <= {None, "superseded"}
