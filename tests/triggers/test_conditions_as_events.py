"""Conditions that end a run or a wait: they fire when something happens and they hold, and by time alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import select

from connectors.rendering import Renderer
from database.outbox import Command
from database.runs import Run
from tests.rewarding import award, publish_programme
from tests.triggers.shop import Shop
from tests.triggers.walking import Walker

AWARD = {"points": {"award": 100}, "id": "award"}
LONG = {"wait": {"for": "30d"}, "id": "long"}
GOLD = {"trait": "plan", "eq": "gold"}


@pytest.fixture(scope="module")
async def renderer() -> AsyncIterator[Renderer]:
    renderer = Renderer(processes=1)
    yield renderer
    await renderer.close()


@pytest.fixture
async def walker(shop: Shop, renderer: Renderer) -> Walker:
    await publish_programme(shop.database)
    return Walker(shop, renderer)


def journey(*steps: Any, **changes: Any) -> dict[str, Any]:
    return {"journey": "trial", "enter": {"on": {"event": "Signed Up"}}, "steps": list(steps), **changes}


def wait_for(*conditions: dict[str, Any], **body: Any) -> dict[str, Any]:
    alternatives = [
        {"if": condition, "steps": [{"update": {"traits": {"by": n}}, "id": f"by-{n}"}]}
        for n, condition in enumerate(conditions)
    ]
    return {"wait_for": {"any": alternatives, "timeout": "60d", **body}, "id": "w"}


async def begin(shop: Shop, walker: Walker, document: dict[str, Any]) -> Run:
    await shop.publish(document)
    await shop.track("Signed Up")
    return await walker.walk("trial")


def end(run: Run) -> tuple[str, str | None]:
    return run.state, run.reason


async def wakes(shop: Shop) -> int:
    async with shop.database.read() as session:
        return len((await session.execute(select(Command).where(Command.kind == "wake"))).all())


async def test_an_exit_condition_that_becomes_true_ends_the_run_and_cancels_its_wait(
    shop: Shop, walker: Walker
) -> None:
    run = await begin(shop, walker, journey(LONG, AWARD, exit=[{"if": GOLD}]))
    assert end(run) == ("active", None)
    before = await wakes(shop)

    await shop.identify({"plan": "gold"})

    assert await wakes(shop) == before + 1
    assert end(await walker.walk("trial")) == ("exited", "exit: condition")
    assert await walker.log(run) == {"long": "cancelled"}


@pytest.mark.parametrize("place", ["exit", "wait_for"])
async def test_points_that_a_call_moves_wake_the_runs_that_look_at_them(shop: Shop, walker: Walker, place: str) -> None:
    enough = {"any": [GOLD, {"points": "available", "gte": 100}]}
    looks = journey(LONG, exit=[{"if": enough}]) if place == "exit" else journey(wait_for(enough))
    asks_later = {"branch": [{"if": enough, "steps": []}, {"else": []}], "id": "asks"}
    await shop.publish({**journey(LONG, asks_later), "journey": "other"})
    run = await begin(shop, walker, looks)
    await walker.walk("other")
    before = await wakes(shop)

    await award(shop.database, run.customer_id, 60, at=shop.now)
    assert await wakes(shop) == before + 1
    assert end(await walker.walk("trial")) == ("active", None)
    await award(shop.database, run.customer_id, 60, at=shop.now)

    assert await wakes(shop) == before + 2
    run = await walker.walk("trial")
    if place == "exit":
        assert end(run) == ("exited", "exit: condition")
    else:
        assert await walker.log(run) == {"w": "done", "by-0": "done"}


async def test_what_changes_nothing_of_the_condition_ends_nothing(shop: Shop, walker: Walker) -> None:
    await begin(shop, walker, journey(LONG, exit=[{"if": GOLD}]))
    await shop.identify({"plan": "silver"})
    await shop.track("Page Viewed")

    assert end(await walker.walk("trial")) == ("active", None)


async def test_an_exit_condition_beats_the_step_that_is_about_to_begin(shop: Shop, walker: Walker) -> None:
    run = await begin(shop, walker, journey(LONG, AWARD, exit=[{"if": {"did": "Order Completed"}}]))
    shop.later(days=31)
    await shop.track("Order Completed", {"order_id": "1"})

    assert end(await walker.walk("trial")) == ("exited", "exit: condition")
    assert "award" not in await walker.log(run)


async def test_an_exit_condition_holds_by_time_alone(shop: Shop, walker: Walker) -> None:
    await shop.identify({"trial_ends": "2026-05-08T12:00:00Z"})
    over = {"trait": "trial_ends", "within_last": "1y"}
    await begin(shop, walker, journey(LONG, exit=[{"if": over}]))
    shop.later(days=3)
    assert end(await walker.walk("trial")) == ("active", None)

    shop.later(days=2)

    assert end(await walker.walk("trial")) == ("exited", "exit: condition")


async def test_a_wait_goes_on_when_its_condition_becomes_true_and_at_once_where_it_is(
    shop: Shop, walker: Walker
) -> None:
    bought = {"aggregate": "sum", "of": "properties.total", "over": "Order Completed", "gte": 100}
    assert end(await begin(shop, walker, journey(wait_for(GOLD, bought)))) == ("active", None)
    await shop.track("Order Completed", {"order_id": "1", "total": 60})
    assert end(await walker.walk("trial")) == ("active", None)
    await shop.track("Order Completed", {"order_id": "2", "total": 60})

    first = await walker.walk("trial")

    assert await walker.log(first) == {"w": "done", "by-1": "done"}
    await shop.track("Signed Up", user_id="u-2")
    await shop.identify({"plan": "gold"}, user_id="u-2")
    second = next(run for run in await shop.runs() if run.customer_id != first.customer_id)
    assert await walker.log(await walker.walk("trial", second.id)) == {"w": "done", "by-0": "done"}


async def test_a_wait_goes_on_by_time_alone(shop: Shop, walker: Walker) -> None:
    quiet = {"did": "Page Viewed", "within": "7d", "exactly": 0}
    await shop.track("Page Viewed")
    await begin(shop, walker, journey(wait_for(quiet)))
    shop.later(days=6)
    assert end(await walker.walk("trial")) == ("active", None)

    shop.later(days=2)

    assert await walker.log(await walker.walk("trial")) == {"w": "done", "by-0": "done"}


async def test_a_wait_on_a_condition_times_out(shop: Shop, walker: Walker) -> None:
    await begin(
        shop, walker, journey(wait_for(GOLD, on_timeout=[{"update": {"traits": {"by": "never"}}, "id": "never"}]))
    )
    shop.later(days=61)

    assert await walker.log(await walker.walk("trial")) == {"w": "timed_out", "never": "done"}


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_wait_that_ends_by_a_browsers_word_gives_nothing(shop: Shop, walker: Walker, *, trusted: bool) -> None:
    wait = {"wait_for": {"any": [{"if": GOLD, "steps": [AWARD]}], "timeout": "60d"}, "id": "w"}
    await begin(shop, walker, journey(wait))
    await shop.identify({"plan": "gold"}, trusted=trusted)

    run = await walker.walk("trial")

    assert await walker.log(run) == {"w": "done", "award": "done" if trusted else "untrusted"}
    assert run.trusted is trusted


async def test_a_browsers_word_ends_no_run_that_gives_something_but_silences_it(shop: Shop, walker: Walker) -> None:
    await begin(shop, walker, journey(LONG, AWARD, exit=[{"if": GOLD}]))
    await shop.identify({"plan": "gold"}, trusted=False)
    silenced = await walker.walk("trial")
    assert (silenced.state, silenced.silenced and silenced.silenced["reason"]) == ("active", "exit: condition")
    shop.later(days=31)

    run = await walker.walk("trial")

    assert await walker.log(run) == {"long": "done", "award": "done"}


async def test_a_browsers_word_ends_a_run_that_gives_nothing(shop: Shop, walker: Walker) -> None:
    await begin(shop, walker, journey(LONG, exit=[{"if": GOLD}]))
    await shop.identify({"plan": "gold"}, trusted=False)

    assert end(await walker.walk("trial")) == ("exited", "exit: condition")


async def test_a_run_that_a_browsers_word_keeps_from_its_exit_gives_nothing(shop: Shop, walker: Walker) -> None:
    await begin(shop, walker, journey(LONG, AWARD, exit=[{"if": {"trait": "plan", "exists": False}}]))
    assert [end(run) for run in await shop.runs()] == [("exited", "exit: condition")]

    await shop.identify({"plan": "gold"}, trusted=False)
    await shop.track("Signed Up")
    kept = (await shop.runs())[-1]
    assert end(await walker.walk("trial", kept.id)) == ("active", None)
    shop.later(days=31)
    run = await walker.walk("trial", kept.id)

    assert (await walker.log(run)).get("award") == "untrusted"
