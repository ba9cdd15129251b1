"""Temporal's database deleted under a thousand waiting runs (G29): what comes back, how soon, and nothing twice."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from sqlalchemy import select

from database.events import Event
from domain.audiences import ENTRY_DUE
from tests.recovery.conftest import WAITING, World, until
from tests.rewarding import TENNER, award, buy, make_member, publish_reward, redemptions_of
from tests.triggers.test_time_entries import birthday, weekly
from triggers.reconciler import EVERY

pytestmark = [pytest.mark.slow, pytest.mark.prove, pytest.mark.timeout(1_800)]

RUNS = 1_000
MEMBERS = 20
A_MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize("world", [EVERY], indirect=True)
async def test_a_thousand_waiting_runs_are_back_within_a_minute_of_temporals_answer(world: World) -> None:
    shop = world.shop
    await shop.publish_programme()
    for journey in (WAITING, weekly("* * * * *")):
        await shop.publish(journey)
    for number in range(MEMBERS):
        await shop.identify({"plan": "gold"}, user_id=f"gold-{number}")
    await world.enter(RUNS)
    due = datetime.now(UTC) + 3 * A_MINUTE
    await shop.publish(birthday(offset="0d", at=f"{due:%H:%M}", yearly=True))
    for number in range(MEMBERS):
        await shop.identify({"birthday": f"1990-{due:%m-%d}", "timezone": "UTC"}, user_id=f"born-{number}")
    world.warehouse.statuses = [503] * 10_000
    await publish_reward(world.database, TENNER, fulfil={"url": world.warehouse.url})
    for number in range(MEMBERS):
        member = await make_member(world.database, f"member-{number}")
        await award(world.database, member, 100, at=datetime.now(UTC))
        await buy(world.database, member, "tenner", datetime.now(UTC))
    await until(lambda: _due(world, "schedule"), lambda events: len(events) >= MEMBERS)

    await world.lose()
    answered, lost_at = time.monotonic(), datetime.now(UTC)
    done = await world.recovered_since(lost_at)
    await until(lambda: _under_way(world), lambda count: count == RUNS + MEMBERS)
    seconds = time.monotonic() - answered

    print(f"\n{RUNS} runs and {MEMBERS} redemptions under way again {seconds:.0f} s after Temporal answered: {done}")  # noqa: T201
    assert done["runs"] >= RUNS  # and those that the schedule has entered
    assert seconds < 60
    world.warehouse.statuses = []
    await world.go(RUNS)
    await until(world.states, lambda states: states == {"completed": RUNS})
    assert await world.told("Before") == await world.told("After") == {f"u-{n}": 1 for n in range(RUNS)}
    await until(
        lambda: redemptions_of(world.database), lambda rows: {row.state for row in rows} == {"fulfilled"}, within=400
    )
    assert len({headers["webhook-id"] for headers, _ in world.warehouse.asked}) == MEMBERS
    born = await until(lambda: _due(world, "date"), lambda events: len(events) == MEMBERS)
    assert set(Counter(event.user_id for event in born).values()) == {1}
    fired = await _due(world, "schedule")
    times = sorted({datetime.fromisoformat(event.properties["properties"]["scheduled_for"]) for event in fired})
    assert len(fired) == len(times) * MEMBERS
    assert {later - earlier for earlier, later in pairwise(times)} == {A_MINUTE}  # none was left out
    await world.doctor_finds()


async def _under_way(world: World) -> int:
    """How many waiting runs and redemptions Temporal has under way."""
    kinds = ("journey/waiting/", "redemption/")
    return sum(workflow_id.startswith(kinds) for workflow_id in await world.open_executions())


async def _due(world: World, kind: str) -> list[Event]:
    """The product's events by which dates or schedules have entered customers."""
    statement = select(Event).where(Event.name == ENTRY_DUE, Event.message_id.startswith(f"{kind}/"))
    async with world.database.read() as session:
        return list((await session.execute(statement)).scalars())
