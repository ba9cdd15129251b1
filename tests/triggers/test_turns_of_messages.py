"""G27: what a browser's run has told stands; what it has not told yet is told by the trusted run that follows."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from activities.rewards import RewardActivities
from database.runs import Run
from domain.events import NewEvent
from domain.journeys.library import DefinitionLibrary
from domain.provider_answers import Rejected
from domain.runs import StepInput
from tests import sending
from tests.rewarding import end, redemptions_of
from tests.triggers.shop import Shop
from tests.triggers.turns import (
    AWARD,
    MAIL,
    PAID,
    SUPERSEDED,
    UNDER_WAY,
    journey,
    pay,
    receipt,
    states,
    trusted_runs,
)
from tests.triggers.walking import Walker


async def give_tea(shop: Shop, run: Run) -> None:
    rewards = RewardActivities(shop.database, DefinitionLibrary(lambda *_: None))
    await rewards.reward(StepInput(run_id=run.id, step="tea", visit=1, as_of=shop.now))
    await shop.route()


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


async def tell(shop: Shop, event: NewEvent, after: float) -> None:
    """Post one event a little later, and route until it is routed: its customer may be held meanwhile."""
    await asyncio.sleep(after)
    await shop.post(event)
    while not (await shop.route()).routed:
        await asyncio.sleep(0.005)


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
