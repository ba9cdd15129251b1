"""Runs as the API shows them: lists, one run with its log, and why a customer entered or was kept out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select, tuple_

from database.customers import Customer
from database.journeys import EntryDecision
from database.runs import Run, RunStep
from database.session import ReadSession
from domain.runs import RunState


class ShownRun(NamedTuple):
    """A run and the shop's own id of its customer."""

    run: Run
    external_id: str | None


async def page_of_runs(
    session: ReadSession,
    *,
    customer_id: UUID | None = None,
    journey: str | None = None,
    state: RunState | None = None,
    before: tuple[datetime, UUID] | None = None,
    limit: int,
) -> Sequence[ShownRun]:
    """Runs, the latest first. By ix_runs_customer for one customer, else by ix_runs_entered_at."""
    statement = select(Run, Customer.external_id).join(Customer, Customer.id == Run.customer_id)
    if customer_id is not None:
        statement = statement.where(Run.customer_id == customer_id)
    if journey is not None:
        statement = statement.where(Run.journey == journey)
    if state is not None:
        statement = statement.where(Run.state == state)
    if before is not None:
        statement = statement.where(tuple_(Run.entered_at, Run.id) < before)
    rows = await session.execute(statement.order_by(Run.entered_at.desc(), Run.id.desc()).limit(limit))
    return [ShownRun(*row) for row in rows]


async def find_run(session: ReadSession, run_id: UUID) -> ShownRun | None:
    """One run, or None."""
    statement = select(Run, Customer.external_id).join(Customer, Customer.id == Run.customer_id).where(Run.id == run_id)
    row = (await session.execute(statement.execution_options(populate_existing=True))).one_or_none()
    return None if row is None else ShownRun(*row)


async def run_log(session: ReadSession, run_id: UUID) -> Sequence[RunStep]:
    """The steps of a run in the order in which they were reached."""
    statement = select(RunStep).where(RunStep.run_id == run_id)
    order = (RunStep.reached_at, RunStep.at.nulls_last(), RunStep.visit, RunStep.step)
    return (await session.execute(statement.order_by(*order))).scalars().all()


async def decisions_about(
    session: ReadSession, journey: str, customer_id: UUID, *, limit: int
) -> Sequence[EntryDecision]:
    """Why the customer entered or was kept out, the latest first. By ix_entry_decisions_at."""
    statement = (
        select(EntryDecision)
        .where(EntryDecision.journey == journey, EntryDecision.customer_id == customer_id)
        .order_by(EntryDecision.at.desc())
        .limit(limit)
    )
    return (await session.execute(statement)).scalars().all()
