"""Whoever was given something hears of it: no browser keeps back the mail with the code of what a run gave."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from activities.points import PointsActivities
from activities.rewards import RewardActivities
from connectors.rendering import Renderer
from database.runs import Run
from domain.journeys.library import DefinitionLibrary
from domain.runs import StepInput
from tests import sending
from tests.programmes import publish_programme
from tests.rewarding import TEA, publish_reward, redemptions_of
from tests.triggers.shop import Shop

INSTALLED, REMOVED = "App Installed", "App Removed"
PAUSE = {"wait": {"for": "1h"}, "id": "pause"}
MAIL = {"send": {"template": "hello"}, "id": "mail"}
HINT = {"send": {"template": "hello"}, "id": "hint"}
AWARD = {"points": {"award": 100}, "id": "award"}
TEA_STEP = {"reward": {"give": "free-tea"}, "id": "tea"}
TEA_FOR_BROWSERS = {"reward": {"give": "free-tea", "untrusted": {"per_customer": 1, "per": "30d"}}, "id": "tea"}


@pytest.fixture
async def sender(shop: Shop, renderer: Renderer) -> AsyncIterator[sending.Shop]:
    await publish_programme(shop.database, shop.now)
    await publish_reward(shop.database, TEA)
    async with sending.open_shop(shop.database, renderer) as sender:
        await shop.identify({"email": "ann@example.com"})
        yield sender


def journey(*steps: Any) -> dict[str, Any]:
    return {
        "journey": "gift",
        "purpose": "transactional",
        "enter": {"on": {"event": INSTALLED}, "again": {"at_most": 1}},
        "exit": [{"event": REMOVED}],
        "steps": list(steps),
    }


async def latest_run(shop: Shop) -> Run:
    return (await shop.runs())[-1]


async def give(shop: Shop, step: str) -> str | None:
    """The latest run's step of value; answers why it gave nothing."""
    at = StepInput(run_id=(await latest_run(shop)).id, step=step, visit=1, as_of=shop.now)
    library = DefinitionLibrary(lambda *_: None)
    if step == "tea":
        outcome = await RewardActivities(shop.database, library).reward(at)
    else:
        outcome = await PointsActivities(shop.database, library).points(at)
    await shop.route()  # what it recorded
    return outcome.reason


async def send(shop: Shop, sender: sending.Shop, step: str = "mail") -> str | None:
    """The latest run's mail; answers why it did not leave."""
    shop.later(minutes=1)
    reason: str | None = (await sender.send((await latest_run(shop)).id, step=step, as_of=shop.now)).reason
    return reason


async def test_the_code_of_a_coupon_arrives_although_a_browser_began_the_run_and_told_of_its_exit(
    shop: Shop, sender: sending.Shop
) -> None:
    await shop.publish(journey(TEA_FOR_BROWSERS, PAUSE, MAIL))
    await shop.track(INSTALLED, trusted=False)
    assert await give(shop, "tea") is None
    await shop.track(REMOVED, trusted=False)
    shop.later(minutes=1)
    await shop.track(INSTALLED)

    assert [(run.state, run.trusted) for run in await shop.runs()] == [("exited", False), ("active", True)]
    assert await give(shop, "tea") is None
    assert await send(shop, sender) is None
    assert [mail.to for mail in sender.provider.taken] == ["ann@example.com"]
    assert len(await redemptions_of(shop.database)) == 1


async def test_a_browser_that_ends_its_run_before_the_coupon_leaves_the_turn_to_the_shop(
    shop: Shop, sender: sending.Shop
) -> None:
    await shop.publish(journey(PAUSE, TEA_FOR_BROWSERS, MAIL))
    await shop.track(INSTALLED, trusted=False)
    await shop.track(REMOVED, trusted=False)
    shop.later(minutes=1)
    await shop.track(INSTALLED)
    assert [(run.state, run.trusted) for run in await shop.runs()] == [("exited", False), ("active", True)]


async def test_the_shops_own_word_ends_a_run_that_has_given_a_coupon(shop: Shop, sender: sending.Shop) -> None:
    await shop.publish(journey(TEA_FOR_BROWSERS, PAUSE, MAIL))
    await shop.track(INSTALLED, trusted=False)
    await give(shop, "tea")
    await shop.track(REMOVED, trusted=False)
    await shop.track(REMOVED)
    run = await latest_run(shop)
    assert (run.state, run.reason) == ("exited", "exit: App Removed")


@pytest.mark.parametrize("value", [TEA_STEP, AWARD], ids=["coupon", "points"])
@pytest.mark.parametrize("told", ["before", "after"])
async def test_the_mail_about_what_a_run_gave_arrives_whenever_a_browser_told_of_the_exit(
    shop: Shop, sender: sending.Shop, told: str, value: dict[str, Any]
) -> None:
    await shop.publish(journey(value, PAUSE, MAIL))
    await shop.track(INSTALLED)
    if told == "before":
        await shop.track(REMOVED, trusted=False)
    assert await give(shop, value["id"]) is None
    if told == "after":
        await shop.track(REMOVED, trusted=False)

    assert await send(shop, sender) is None
    run = await latest_run(shop)
    assert (run.state, run.trusted, run.silenced is not None) == ("active", True, True)
    assert len(sender.provider.taken) == 1


async def test_a_mail_before_the_coupon_is_silenced_and_the_one_that_tells_its_code_is_not(
    shop: Shop, sender: sending.Shop
) -> None:
    await shop.publish(journey(HINT, TEA_STEP, MAIL))
    await shop.track(INSTALLED)
    await shop.track(REMOVED, trusted=False)
    assert await send(shop, sender, "hint") == "silenced"
    assert await give(shop, "tea") is None
    assert await send(shop, sender) is None
    assert [message.step for message in await sender.messages() if message.state == "accepted"] == ["mail"]


async def test_a_coupon_that_nobody_got_has_no_mail_that_is_heard_through_the_silence(
    shop: Shop, sender: sending.Shop
) -> None:
    await publish_reward(shop.database, TEA, stock=0)
    await shop.publish(journey(TEA_STEP, MAIL))
    await shop.track(INSTALLED)
    await shop.track(REMOVED, trusted=False)
    assert await give(shop, "tea") == "sold_out"
    assert await send(shop, sender) == "silenced"
    assert sender.provider.taken == []
