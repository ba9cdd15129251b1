"""Conditions that end a run or the wait at which it stands, judged when a step is begun and whenever a run is asked."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import exists, select

from database.conditions import judge
from database.customers import Customer
from database.runs import Run, RunStep, end_runs, subject_of
from database.session import WriteSession
from database.shop_settings import shop_settings
from domain.journeys.definition import JourneyDefinition
from domain.journeys.exits import exit_reason
from domain.journeys.looks import exit_conditions
from domain.journeys.worth import Worth
from domain.runs import Doubt, silenced


async def exit_by_condition(
    session: WriteSession, run: Run, customer: Customer, definition: JourneyDefinition, as_of: datetime
) -> bool:
    """End the locked run if a condition of its exit rules holds; whether it has ended.

    As with events, a browser takes no value out of a run: what only its word makes true silences a run that may give
    something, and where trusted facts alone would have ended a run that goes on, it is untrusted from here on.
    """
    if not (matches := exit_conditions(definition)):
        return False
    subject, shop = subject_of(run, customer, as_of), (await shop_settings(session)).defaults
    for match in matches:
        [verdict] = await judge(session, match.if_, [subject], shop=shop, compare=True)
        if not verdict.holds:
            if not verdict.is_trusted and run.trusted:
                run.doubt(Doubt.CONDITION, as_of, run.step)
        elif verdict.is_trusted or not await _keeps_on(session, run, definition):
            await end_runs(session, Run.id == run.id, reason=exit_reason(match), as_of=as_of)
            await session.refresh(run)
            return True
        elif run.silenced is None:
            run.silenced = silenced(exit_reason(match), None, as_of)
    return False


async def _keeps_on(session: WriteSession, run: Run, definition: JourneyDefinition) -> bool:
    """Whether the run gives something, or has: then it goes on against a browser's word. By pk_run_steps."""
    if run.trusted and Worth().given_by(definition):
        return True
    gave = RunStep.kind.in_(["points", "reward"]) & (RunStep.outcome == "done")
    return bool(await session.scalar(select(exists().where(RunStep.run_id == run.id, gave))))
