"""G27: a browser takes no turn of a trusted customer: what it began gives way, unless its messages have spoken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from activities.audiences import AudienceActivities
from activities.rewards import RewardActivities
from connectors.rendering import Renderer
from database.runs import Run
from domain.audiences import DueDatesInput
from domain.events import EventKind, NewEvent
from domain.journeys.library import DefinitionLibrary
from domain.provider_answers import Rejected
from domain.runs import StepInput
from tests import sending
from tests.programmes import publish_programme
from tests.rewarding import TEA, balance_of, end, publish_reward, redemptions_of
from tests.triggers.shop import Shop
from tests.triggers.walking import Walker
from triggers.live import LiveCache
from triggers.routing import Routing

PAID = "Order Paid"
AWARD = {"points": {"award": 100}, "id": "award"}
PAUSE = {"wait": {"for": "1h"}, "id": "pause"}
MAIL = {"send": {"template": "hello"}, "id": "mail"}
SUPERSEDED, UNDER_WAY = ("exited", "superseded"), ("active", None)


@pytest.fixture(scope="module")
async def renderer() -> AsyncIterator[Renderer]:
    renderer = Renderer(processes=1)
    yield renderer
    await renderer.close()


@pytest.fixture
async def walker(shop: Shop, renderer: Renderer) -> Walker:
    await publish_programme(shop.database, shop.now)
    await publish_reward(shop.database, TEA)
    return Walker(shop, renderer)


@pytest.fixture
async def sender(shop: Shop, renderer: Renderer) -> AsyncIterator[sending.Shop]:
    """Sends what the steps of runs send."""
    async with sending.open_shop(shop.database, renderer) as sender:
        await shop.identify({"email": "ann@example.com"})
        yield sender


def journey(*steps: Any, key: str = "gift", **enter: Any) -> dict[str, Any]:
    on = {"on": {"event": PAID}, "occasion": "properties.order_id", **enter}
    return {"journey": key, "purpose": "transactional", "enter": on, "steps": list(steps)}


def receipt(**enter: Any) -> dict[str, Any]:
    return journey(PAUSE, MAIL, key="receipt", **enter)


async def pay(shop: Shop, order_id: str = "o-1", *, browser: bool = False, **given: Any) -> None:
    await shop.track(PAID, {"order_id": order_id}, trusted=not browser, **given)


async def states(shop: Shop) -> list[tuple[str, str | None]]:
    """Of all runs, the oldest first."""
    return [(run.state, run.reason) for run in await shop.runs()]


async def trusted_runs(shop: Shop) -> list[Run]:
    return [run for run in await shop.runs() if run.trusted]


async def give_tea(shop: Shop, run: Run) -> None:
    rewards = RewardActivities(shop.database, DefinitionLibrary(lambda *_: None))
    await rewards.reward(StepInput(run_id=run.id, step="tea", visit=1, as_of=shop.now))
    await shop.route()


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


@pytest.mark.parametrize("used", [False, True], ids=["unused", "used"])
async def test_a_coupon_that_a_browsers_run_gave_without_telling_is_told_of_by_the_trusted_run_and_given_once(
    shop: Shop, walker: Walker, sender: sending.Shop, *, used: bool
) -> None:
    tea = {"reward": {"give": "free-tea", "untrusted": {"per_customer": 5}}, "id": "tea"}
    await shop.publish(journey(tea, MAIL, again={"at_most": 1, "per": "30d"}))
    await pay(shop, browser=True)
    [first] = await shop.runs()
    await give_tea(shop, first)
    sender.provider.script = [Rejected("refused")]
    await sender.send(first.id, step="mail", as_of=shop.now)
    if used:
        [given] = await redemptions_of(shop.database)
        await end(shop.database, given, at=shop.now)

    shop.later(minutes=1)
    await pay(shop)

    old, new = await shop.runs()
    assert (old.reason, new.trusted, new.state) == ("superseded", True, "active")
    await give_tea(shop, new)
    [given] = await redemptions_of(shop.database)
    [new] = await trusted_runs(shop)
    assert new.saved["reward"]["redemption_id"] == str(given.id)
    await sender.send(new.id, step="mail", as_of=shop.now)
    assert len(sender.provider.taken) == 1
    await pay(shop)
    assert len(await shop.runs()) == 2


async def test_a_coupon_that_a_browsers_run_told_of_has_had_its_turn(
    shop: Shop, walker: Walker, sender: sending.Shop
) -> None:
    tea = {"reward": {"give": "free-tea", "untrusted": {"per_customer": 5}}, "id": "tea"}
    await shop.publish(journey(tea, MAIL))
    await pay(shop, browser=True)
    [run] = await shop.runs()
    await give_tea(shop, run)
    await sender.send(run.id, step="mail", as_of=shop.now)
    await pay(shop)
    assert await states(shop) == [UNDER_WAY]


async def test_a_receipt_that_has_not_left_is_told_with_the_shops_facts(shop: Shop, sender: sending.Shop) -> None:
    await shop.publish(receipt())
    await pay(shop, browser=True)
    await pay(shop)

    assert await states(shop) == [SUPERSEDED, UNDER_WAY]
    for run in await shop.runs():
        await sender.send(run.id, step="mail", as_of=shop.now)
    [message] = await sender.messages()
    assert message.run_id == (await shop.runs())[1].id


async def test_an_order_told_by_a_pixel_and_by_the_server_gets_one_receipt(shop: Shop, sender: sending.Shop) -> None:
    await shop.publish(receipt())
    await pay(shop, browser=True)
    [run] = await shop.runs()
    await sender.send(run.id, step="mail", as_of=shop.now)

    await pay(shop)

    assert await states(shop) == [UNDER_WAY]
    assert len(sender.provider.taken) == 1


async def test_a_receipt_is_not_lost_because_a_browser_began_and_ended_its_run(
    shop: Shop, sender: sending.Shop
) -> None:
    await shop.publish(receipt() | {"exit": [{"event": "Order Returned"}]})
    await pay(shop, browser=True)
    await shop.track("Order Returned", trusted=False)
    shop.later(minutes=1)
    await pay(shop)
    assert [state for state, _ in await states(shop)] == ["exited", "active"]


async def test_a_mail_of_a_browsers_run_does_not_cost_the_points(
    shop: Shop, walker: Walker, sender: sending.Shop
) -> None:
    await shop.publish(journey(MAIL, AWARD))
    await pay(shop, browser=True)
    [run] = await shop.runs()
    await sender.send(run.id, step="mail", as_of=shop.now)
    await pay(shop)
    assert await states(shop) == [SUPERSEDED, UNDER_WAY]


@pytest.mark.parametrize(
    "step", [{"emit": {"event": "Welcomed"}}, {"start": {"journey": "award"}}], ids=["emit", "start"]
)
async def test_points_that_a_journey_sets_off_elsewhere_are_not_lost_either(
    shop: Shop, walker: Walker, sender: sending.Shop, step: dict[str, Any]
) -> None:
    await shop.publish(journey(AWARD, key="award", on={"any": [{"event": "Welcomed"}, {"api": True}]}, occasion=None))
    await shop.publish(journey(MAIL, {**step, "id": "set-off"}))
    await pay(shop, browser=True)
    [run] = await shop.runs()
    await sender.send(run.id, step="mail", as_of=shop.now)
    await pay(shop)
    assert await states(shop) == [SUPERSEDED, UNDER_WAY]


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


async def tell(shop: Shop, event: NewEvent, after: float) -> None:
    """Post one event a little later, and route until it is routed: its customer may be held meanwhile."""
    await asyncio.sleep(after)
    await shop.post(event)
    while not (await shop.route()).routed:
        await asyncio.sleep(0.005)


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


async def test_a_receipt_leaves_once_while_the_shops_word_meets_the_browsers_mail(
    shop: Shop, sender: sending.Shop
) -> None:
    """One after the other both ways, and both at once many times.

    The browser's receipt left, or the shop's run is there to send it, never both.
    """
    await shop.publish(journey(MAIL, key="receipt"))
    pushed_aside = set()
    for number in range(25):
        user = f"u-{number}"
        await shop.identify({"email": f"{user}@example.com"}, user_id=user)
        await pay(shop, user_id=user, browser=True)
        customer = (await shop.customer(user)).id
        [run] = [run for run in await shop.runs() if run.customer_id == customer]

        told = shop.event(PAID, properties={"order_id": "o-1"}, user_id=user)
        match number:
            case 0:
                await tell(shop, told, after=0)
                await sender.send(run.id, step="mail", as_of=shop.now)
            case 1:
                await sender.send(run.id, step="mail", as_of=shop.now)
                await tell(shop, told, after=0)
            case _:
                await asyncio.gather(sender.send(run.id, step="mail", as_of=shop.now), tell(shop, told, number / 150))

        runs = [run for run in await shop.runs() if run.customer_id == customer]
        for each in runs:
            await sender.send(each.id, step="mail", as_of=shop.now + timedelta(seconds=1))
        left = [
            message.run_id
            for message in await sender.messages()
            if message.customer_id == customer and message.state == "accepted"
        ]
        assert left == [runs[-1].id]
        pushed_aside.add(len(runs) == 2)
    assert pushed_aside == {True, False}
