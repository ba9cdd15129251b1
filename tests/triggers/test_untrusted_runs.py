"""G27 in journeys: what a browser led on gives nothing of value, whichever way it led there; all else goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import update
from temporalio.testing import ActivityEnvironment

from activities.audiences import AudienceActivities
from connectors.rendering import Renderer
from database.guarantees import QUESTIONS, offenders
from database.runs import Run, RunStep
from domain.audiences import AudiencePage, DueDatesInput
from tests.rewarding import TEA, balance_of, publish_programme, publish_reward, redemptions_of
from tests.triggers.shop import Shop
from tests.triggers.walking import Walker

AWARD = {"points": {"award": 100}, "id": "award"}
TEA_STEP = {"reward": {"give": "free-tea"}, "id": "tea"}
GIFTS = [AWARD, {"points": {"multiply": 2, "for": "7d"}, "id": "double"}, TEA_STEP]
NOTHING = {"award": "untrusted", "double": "untrusted", "tea": "untrusted"}
EVERYTHING = {"award": "done", "double": "done", "tea": "done"}


@pytest.fixture(scope="module")
async def renderer() -> AsyncIterator[Renderer]:
    renderer = Renderer(processes=1)
    yield renderer
    await renderer.close()


@pytest.fixture
async def walker(shop: Shop, renderer: Renderer) -> Walker:
    await publish_programme(shop.database)
    await publish_reward(shop.database, TEA)
    return Walker(shop, renderer)


def journey(*steps: Any, key: str = "gift", **enter: Any) -> dict[str, Any]:
    return {"journey": key, "enter": {"on": {"event": "Signed Up"}, **enter}, "steps": list(steps)}


async def test_what_a_browser_sets_off_gives_nothing_and_does_the_rest(shop: Shop, walker: Walker) -> None:
    note = {"update": {"traits": {"greeted": True}}, "id": "note"}
    await shop.publish(journey(*GIFTS, {"points": {"deduct": 1}, "id": "take"}, note))
    await shop.track("Signed Up", trusted=False)

    run = await walker.walk("gift")

    assert await walker.log(run) == {**NOTHING, "take": "untrusted", "note": "done"}
    assert run.untrusted == {"by": "event", "step": None, "at": shop.now.isoformat()}
    assert await redemptions_of(shop.database) == []
    assert (await balance_of(shop.database, run.customer_id)).available == 0
    await shop.route()
    assert (await shop.customer()).traits == {"greeted": True}


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize(
    "condition",
    [
        {"trait": "plan", "eq": "gold"},
        {"did": "Review Written"},
        {"aggregate": "sum", "of": "properties.stars", "over": "Review Written", "gte": 5},
        {"any": [{"trait": "plan", "eq": "gold"}, {"bucket": [0, 0.001], "salt": "x"}]},
    ],
    ids=["trait", "did", "aggregate", "any"],
)
@pytest.mark.parametrize("place", ["entry", "branch"])
async def test_a_condition_that_a_browser_made_true_gives_nothing(
    shop: Shop, walker: Walker, condition: dict[str, Any], place: str, *, trusted: bool
) -> None:
    branch = {"branch": [{"if": condition, "steps": GIFTS}], "id": "way"}
    on_entry: dict[str, Any] = {"if": condition}
    await shop.publish(journey(branch) if place == "branch" else journey(*GIFTS, **on_entry))
    await shop.identify({"plan": "gold"}, trusted=trusted)
    await shop.track("Review Written", {"stars": 5}, trusted=trusted)
    await shop.track("Signed Up")

    run = await walker.walk("gift")

    found = await walker.log(run)
    found.pop("way", None)
    assert found == (EVERYTHING if trusted else NOTHING)
    by = {"by": "condition", "step": "way" if place == "branch" else None, "at": shop.now.isoformat()}
    assert run.untrusted == (None if trusted else by)


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_cart_of_which_a_browser_told_gives_nothing(shop: Shop, walker: Walker, *, trusted: bool) -> None:
    way = {"branch": [{"if": {"cart": "total", "gte": 5_000}, "steps": GIFTS}], "id": "way"}
    on_entry: dict[str, Any] = {"if": {"cart": "items", "exists": True}}
    await shop.publish(journey(way, **on_entry))
    pot = {"cart_id": "c1", "product_id": "pot", "price": 30, "quantity": 1}
    await shop.track("Product Added", pot)
    await shop.track("Product Added", {**pot, "product_id": "rose"}, trusted=trusted)
    await shop.track("Signed Up")

    run = await walker.walk("gift")

    assert await walker.log(run) == {"way": "done", **(EVERYTHING if trusted else NOTHING)}
    assert run.trusted is trusted


async def test_a_condition_that_a_browser_kept_from_being_true_leads_to_nothing_either(
    shop: Shop, walker: Walker
) -> None:
    way = {"branch": [{"if": {"did": "Cart Emptied"}, "steps": []}, {"else": GIFTS}], "id": "way"}
    await shop.publish(journey(way, {**AWARD, "id": "after"}))
    await shop.track("Cart Emptied", trusted=False)
    await shop.track("Signed Up")
    assert await walker.log(await walker.walk("gift")) == {"way": "done", "after": "untrusted"}


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_wait_that_a_browser_ends_gives_nothing(shop: Shop, walker: Walker, *, trusted: bool) -> None:
    wait = {"id": "order", "timeout": "1d", "any": [{"event": "Order Completed", "steps": GIFTS}]}
    await shop.publish(journey({"wait_for": wait}))
    await shop.track("Signed Up")
    await walker.walk("gift")
    await shop.track("Order Completed", {"order_id": "1"}, trusted=trusted)

    run = await walker.walk("gift")

    assert await walker.log(run) == {"order": "done", **(EVERYTHING if trusted else NOTHING)}
    assert run.trusted is trusted


@pytest.mark.parametrize(("hours", "is_trusted"), [(20, True), (30, False)])
async def test_a_browser_cannot_hold_a_wait_open_for_an_order_that_came_too_late(
    shop: Shop, walker: Walker, hours: int, *, is_trusted: bool
) -> None:
    wait = {
        "id": "order",
        "timeout": "1d",
        "restart_on": [{"event": "Page Viewed"}],
        "any": [{"event": "Order Completed", "steps": GIFTS}],
    }
    await shop.publish(journey({"wait_for": wait}))
    await shop.track("Signed Up")
    await walker.walk("gift")
    shop.later(hours=hours - 10)
    await shop.track("Page Viewed", trusted=False)
    shop.later(hours=10)
    await shop.track("Order Completed", {"order_id": "1"})

    run = await walker.walk("gift")

    assert run.trusted is is_trusted
    assert (await walker.log(run))["award"] == ("done" if is_trusted else "untrusted")


async def test_signs_of_life_from_a_browser_do_not_matter_to_a_wait_that_runs_out(shop: Shop, walker: Walker) -> None:
    wait = {"id": "quiet", "timeout": "1h", "restart_on": [{"event": "Page Viewed"}], "on_timeout": GIFTS}
    await shop.publish(journey({"wait_for": wait}))
    await shop.track("Signed Up")
    await walker.walk("gift")
    await shop.track("Page Viewed", trusted=False)
    shop.later(hours=2)
    assert (await walker.walk("gift")).trusted


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_date_that_a_browser_told_gives_nothing(shop: Shop, walker: Walker, *, trusted: bool) -> None:
    rule = {"trait": "birthday", "at": "09:00"}
    await shop.publish(journey(*GIFTS, on={"date": rule}))
    await shop.identify({"birthday": "2026-05-05"}, trusted=trusted)
    await shop.publish(journey({"wait": {"until_date": {"trait": "birthday"}}, "id": "day"}, *GIFTS, key="until"))
    await shop.track("Signed Up")
    await walker.walk("until")
    shop.now = datetime(2026, 5, 5, 18, tzinfo=UTC)
    await AudienceActivities(shop.database).enter_due_dates(DueDatesInput(as_of=shop.now))
    await shop.route()

    run = await walker.walk("gift")
    await shop.route()
    waited = await walker.walk("until")

    assert await walker.log(run) == (EVERYTHING if trusted else NOTHING)
    assert (run.untrusted or {}).get("by") == (None if trusted else "date")
    assert (waited.untrusted or {}).get("by") == (None if trusted else "date")
    assert (await walker.log(waited))["award"] == ("done" if trusted else "untrusted")


@pytest.mark.parametrize("trusted", [True, False])
async def test_an_audience_that_a_browser_joined_gives_it_nothing(shop: Shop, walker: Walker, *, trusted: bool) -> None:
    on = {"schedule": "0 9 * * 1", "audience": {"trait": "plan", "eq": "gold"}}
    await shop.publish(journey(*GIFTS, on=on))
    await shop.identify({"plan": "gold"}, trusted=trusted)
    page = AudiencePage(journey="gift", entry=0, fired=shop.now)
    await ActivityEnvironment().run(AudienceActivities(shop.database).enter_audience, page)
    await shop.route()

    run = await walker.walk("gift")

    assert await walker.log(run) == (EVERYTHING if trusted else NOTHING)
    assert (run.untrusted or {}).get("by") == (None if trusted else "audience")


async def test_doubt_passes_on_to_journeys_that_are_started_and_events_that_are_emitted(
    shop: Shop, walker: Walker
) -> None:
    earn = [{"rule": "welcome", "on": {"event": "Welcomed"}, "amount": {"points": 50}}]
    await publish_programme(shop.database, earn=earn)
    await shop.publish(journey(*GIFTS, key="started", on={"api": True}))
    start, emit = {"start": {"journey": "started"}, "id": "start"}, {"emit": {"event": "Welcomed"}, "id": "emit"}
    way = {"branch": [{"if": {"trait": "plan", "eq": "gold"}, "steps": [start, emit]}], "id": "way"}
    await shop.publish(journey(way))
    await shop.identify({"plan": "gold"}, trusted=False)
    await shop.track("Signed Up")
    await walker.walk("gift")
    await shop.route()

    started = await walker.walk("started")

    assert await walker.log(started) == NOTHING
    assert (await balance_of(shop.database, started.customer_id)).available == 0


@pytest.mark.parametrize("step", ["update", "emit"])
async def test_a_step_does_not_make_a_browsers_word_ours(shop: Shop, walker: Walker, step: str) -> None:
    bodies: dict[str, dict[str, Any]] = {
        "update": {"update": {"traits": {"tier": "{{ customer.traits.wish }}"}}},
        "emit": {"emit": {"event": "Tier Set", "properties": {"tier": "{{ customer.traits.wish }}"}}},
    }
    on = {"event": "Tier Set", "where": [{"property": "tier", "eq": "gold"}]}
    await shop.publish(journey({**bodies[step], "id": "say"}))
    await shop.publish(journey(*GIFTS, key="tiered", on=on) if step == "emit" else tiered_by_trait())
    await shop.identify({"wish": "gold"}, trusted=False)
    await shop.track("Signed Up")
    assert (await walker.walk("gift")).trusted
    await shop.route()
    if step == "update":
        await shop.track("Order Completed", {"order_id": "1"})

    assert await walker.log(await walker.walk("tiered")) == NOTHING


def tiered_by_trait() -> dict[str, Any]:
    return journey(*GIFTS, key="tiered", on={"event": "Order Completed"}, **{"if": {"trait": "tier", "eq": "gold"}})


async def test_an_entrys_predicate_that_a_browsers_trait_made_true_gives_nothing(shop: Shop, walker: Walker) -> None:
    where = [{"property": "size", "eq": {"customer": "traits.size"}}]
    await shop.publish(journey(*GIFTS, on={"event": "Restocked", "where": where}))
    await shop.identify({"size": "M"}, trusted=False)
    await shop.track("Restocked", {"size": "M"})
    assert await walker.log(await walker.walk("gift")) == NOTHING


async def test_an_exit_that_a_browsers_trait_prevented_leads_to_nothing(shop: Shop, walker: Walker) -> None:
    document = journey({"wait": {"for": "1h"}, "id": "pause"}, *GIFTS)
    document["exit"] = [{"event": "Returned", "where": [{"property": "by", "ne": {"customer": "traits.name"}}]}]
    await shop.publish(document)
    await shop.track("Signed Up")
    await walker.walk("gift")
    await shop.identify({"name": "shop"}, trusted=False)
    await shop.track("Returned", {"by": "shop"})
    shop.later(hours=2)
    assert await walker.log(await walker.walk("gift")) == {"pause": "done", **NOTHING}


async def test_a_reward_may_be_allowed_to_known_customers_within_a_limit(shop: Shop, walker: Walker) -> None:
    tea = {"reward": {"give": "free-tea", "untrusted": {"per_customer": 1, "per": "30d"}}, "id": "tea"}
    for key in ("first", "second", "third"):
        await shop.publish(journey(tea, key=key, on={"event": key}))
    await shop.track("first", trusted=False)
    assert await walker.log(await walker.walk("first")) == {"tea": "untrusted"}  # nobody but browsers knows them
    await shop.track("Order Completed", {"order_id": "1"})
    await shop.track("second", trusted=False)
    assert await walker.log(await walker.walk("second")) == {"tea": "done"}
    await shop.track("third", trusted=False)
    assert await walker.log(await walker.walk("third")) == {"tea": "untrusted"}
    assert len(await redemptions_of(shop.database)) == 1


async def test_the_doctor_finds_what_an_untrusted_run_gave(shop: Shop, walker: Walker) -> None:
    [asked] = [question for question in QUESTIONS if question.guarantee == "G27"]
    tea = {"reward": {"give": "free-tea", "untrusted": {"per_customer": 1}}, "id": "tea"}
    await shop.publish(journey({"wait": {"for": "1h"}, "id": "pause"}, AWARD, tea))
    await shop.track("Order Completed", {"order_id": "1"})
    await shop.track("Signed Up", trusted=False)
    await walker.walk("gift")
    shop.later(hours=1)
    run = await walker.walk("gift")
    assert await walker.log(run) == {"pause": "done", "award": "untrusted", "tea": "done"}
    async with shop.database.read() as session:
        assert await offenders(session, asked, shop.now) == []
    async with shop.database.transaction() as session:
        await session.execute(update(RunStep).where(RunStep.step == "award").values(outcome="done"))
    async with shop.database.read() as session:
        assert await offenders(session, asked, shop.now) == [f"{run.id}/award"]


async def test_runs_of_an_earlier_release_are_as_their_entry_event_is(shop: Shop, walker: Walker) -> None:
    await shop.publish(journey(*GIFTS))
    await shop.track("Signed Up", trusted=False)
    async with shop.database.transaction() as session:
        await session.execute(update(Run).values(untrusted=None))
    assert await walker.log(await walker.walk("gift")) == NOTHING
