"""The counts of a funnel against the same counted by hand, for runs that loop and end in every way."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from dataclasses import asdict
from datetime import timedelta
from typing import Any
from uuid import UUID

from database.funnels import funnels
from database.runs import Run, RunStep
from database.session import Database
from domain.funnels import StepCounts
from domain.ids import new_id
from tests.factories_journeys import NOW, make_customer

STEPS = ("mail", "quiet", "points")
OUTCOMES = (
    ("done", None), ("done", "silenced"), ("skipped", "untrusted"), ("skipped", None), ("failed", "refused"),
    ("cancelled", None), ("waiting", None), ("held", None), ("reached", None),
)  # fmt: skip


async def test_a_run_counts_once_for_each_step_and_outcome_however_often_it_loops(database: Database) -> None:
    rolls = random.Random(7)
    customer_id = await make_customer(database)
    runs = [some_run(rolls, customer_id) for _ in range(80)]
    rows = [row for run in runs for row in some_steps(rolls, run.id)]
    async with database.transaction() as session:
        session.add_all(runs)
        await session.flush()
        session.add_all(rows)

    noon, evening = NOW + timedelta(hours=6), NOW + timedelta(hours=18)
    for start, end in ((None, None), (noon, None), (noon, evening)):
        async with database.read() as session:
            found = await funnels(session, "cart", 2, start=start, end=end)
        for shadow in (False, True):
            own = [run for run in runs if run.version == 2 and run.shadow is shadow]
            own = [run for run in own if (start or NOW) <= run.entered_at < (end or NOW + timedelta(days=2))]
            assert found[shadow].entered == len(own) > 0
            assert found[shadow].active == sum(run.state == "active" for run in own)
            assert shown(found[shadow].steps) == shown(by_hand(rows, {run.id for run in own}))


def some_run(rolls: random.Random, customer_id: UUID) -> Run:
    run_id = new_id()
    return Run(
        id=run_id, journey="cart", version=rolls.choice((1, 2, 2)), customer_id=customer_id, occasion=str(run_id),
        state=rolls.choice(("active", "completed", "exited", "failed")), shadow=rolls.random() < 0.3, seen_number=1,
        entry={}, entered_at=NOW + timedelta(hours=rolls.randrange(24)), workflow_id=str(run_id),
    )  # fmt: skip


def some_steps(rolls: random.Random, run_id: UUID) -> Iterator[RunStep]:
    """Of most steps several visits; of some not the first, as if its row had never been written."""
    for step in STEPS:
        for visit in rolls.sample(range(1, 6), k=rolls.randrange(5)):
            outcome, reason = rolls.choice(OUTCOMES)
            yield RunStep(
                run_id=run_id, step=step, visit=visit, kind="send", reached_at=NOW, outcome=outcome, reason=reason
            )


def by_hand(rows: Collection[RunStep], runs: Collection[UUID]) -> dict[str, StepCounts]:
    counts: dict[str, StepCounts] = {}
    own = [row for row in rows if row.run_id in runs]
    for step, _ in {(row.step, row.run_id) for row in own}:
        counts.setdefault(step, StepCounts()).reached += 1
    for step, outcome, reason, _ in {(row.step, row.outcome, row.reason, row.run_id) for row in own}:
        match outcome:
            case "done":
                counts[step].done += 1
            case "failed":
                counts[step].failed += 1
            case "skipped":
                skipped = counts[step].skipped
                skipped[reason or "skipped"] = skipped.get(reason or "skipped", 0) + 1
            case "cancelled":
                pass
            case _:
                counts[step].waiting += 1
    return counts


def shown(steps: dict[str, StepCounts]) -> dict[str, dict[str, Any]]:
    return {step: asdict(counts) for step, counts in steps.items()}
