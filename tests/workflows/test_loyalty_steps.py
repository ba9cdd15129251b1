"""The steps `points` and `reward` through Temporal: what is given is given once, and what cannot be is skipped."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction

import pytest

from database.point_boosts import boosts_of
from database.points import balances, lots_of
from domain.runs import OutcomeKind, StepOutcome
from tests.rewarding import TEA, award, publish_programme, publish_reward
from tests.workflows.conftest import Stage
from tests.workflows.journeys import journey

WELCOME = {"points": {"award": 100, "reason": "Welcome", "expires": "90d"}, "id": "gift"}


async def test_a_journey_awards_points_once(stage: Stage) -> None:
    await publish_programme(stage.database)
    await stage.publish(journey(WELCOME, {"wait": {"for": "1d"}, "id": "pause"}))
    run = await stage.enter("welcome", await stage.customer())

    await run.ends()

    async with stage.database.read() as session:
        holdings = await lots_of(session, "main", run.customer_id, stage.now + timedelta(days=2))
    [lot] = holdings.lots
    assert (holdings.balance.available, lot.source) == (100, "journey/welcome")
    assert lot.expires_at is not None
    assert (await run.log())[0][2:] == ("done", None)


async def test_points_that_are_not_there_are_not_deducted_and_the_journey_goes_on(stage: Stage) -> None:
    await publish_programme(stage.database)
    customer_id = await stage.customer()
    await award(stage.database, customer_id, 30)
    await stage.publish(
        journey({"points": {"deduct": 31}, "id": "more"}, {"points": {"deduct": 30}, "id": "all"}, {"exit": "done"})
    )
    run = await stage.enter("welcome", customer_id)

    await run.ends()

    assert [entry[2:] for entry in (await run.log())[:2]] == [("skipped", "insufficient_points"), ("done", None)]
    async with stage.database.read() as session:
        balance = (await balances(session, "main", [customer_id], stage.now))[customer_id]
    assert (balance.available, balance.spent) == (0, 30)


async def test_a_journey_raises_what_rules_pay_for_a_time(stage: Stage) -> None:
    await publish_programme(stage.database)
    await stage.publish(journey({"points": {"multiply": 2, "for": "7d", "rule": "purchase"}, "id": "double"}))
    run = await stage.enter("welcome", await stage.customer())

    await run.ends()

    async with stage.database.read() as session:
        [boost] = (await boosts_of(session, [run.customer_id], stage.now))[run.customer_id]
    assert (boost.by, boost.rule, boost.end - boost.start) == (Fraction(2), "purchase", timedelta(days=7))


async def test_without_a_programme_no_points_move(stage: Stage) -> None:
    await stage.publish(journey(WELCOME))
    run = await stage.enter("welcome", await stage.customer())
    await run.ends()
    assert (await run.log())[0][2:] == ("skipped", "no_programme")


async def test_a_journey_gives_a_reward_and_keeps_its_code(stage: Stage) -> None:
    await publish_programme(stage.database)
    await publish_reward(stage.database, {**TEA, "gives": {"percent": 10}, "reward": "ten"})
    await stage.publish(journey({"reward": {"give": "ten", "expires": "14d"}, "id": "gift"}))
    run = await stage.enter("welcome", await stage.customer())

    row = await run.ends()

    assert row.saved["reward"]["reward"] == "ten"
    assert row.saved["reward"]["code"]
    assert row.saved["reward"]["expires_at"] is not None


async def test_a_reward_that_is_not_in_the_catalogue_is_skipped(stage: Stage) -> None:
    await stage.publish(journey({"reward": {"give": "nothing"}, "id": "gift"}))
    run = await stage.enter("welcome", await stage.customer())
    await run.ends()
    assert (await run.log())[0][2:] == ("skipped", "reward_not_found")


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [("unsubscribed", ("skipped", "untrusted")), ("frequency_cap", ("done", None)), ("no_consent", ("done", None))],
)
async def test_what_follows_a_message_that_a_browser_may_have_stopped_gives_nothing(
    stage: Stage, reason: str, outcome: tuple[str, str | None]
) -> None:
    await publish_programme(stage.database)
    await stage.publish(journey({"send": {"template": "hello", "on_skip": [WELCOME]}, "id": "hello"}))
    stage.outbox.answers["hello"] = [StepOutcome(kind=OutcomeKind.SKIPPED, reason=reason)]
    run = await stage.enter("welcome", await stage.customer())

    row = await run.ends()

    assert (await run.log())[1][2:] == outcome
    assert (row.untrusted or {}).get("by") == ("message" if outcome[0] == "skipped" else None)
