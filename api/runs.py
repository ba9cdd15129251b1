"""Runs: lists, one run with its log, and ending one by hand."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from api.auth import Caller, requires
from api.customer_access import customer_not_found
from api.dependencies import AsOf, Dependencies, Reading, Writing
from api.idempotency import concerns
from api.pagination import Page, PageRequest, TimeAndId, page, page_request
from api.routing import ApiRoute
from api.run_answers import RunAnswer, RunWithLog
from database.audit import write_audit
from database.customers import customer_of
from database.erasures import was_erased
from database.run_lists import ShownRun, find_run, page_of_runs, run_log
from database.runs import Run, end_runs
from domain.documents import DOCUMENT_KEY
from domain.errors import Conflict, NotFound
from domain.keys import Scope
from domain.runs import RunState

router = APIRouter(prefix="/v1/runs", tags=["runs"], route_class=ApiRoute)


BY_HAND = "ended_by_hand"
"""The class of an end that a person caused; what they wrote about it stands beside."""


class ExitWish(BaseModel):
    """Why the run is ended; shown as its reason. Funnels count it as `ended_by_hand`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reason: str = Field(default=BY_HAND, min_length=1, max_length=200)


@router.get("", dependencies=[requires(Scope.JOURNEYS_READ)], summary="List runs, the latest first")
async def list_runs(
    *,
    session: Reading,
    dependencies: Dependencies,
    wanted: Annotated[PageRequest, Depends(page_request)],
    customer_id: Annotated[str | None, Query(max_length=1_000, description="The shop's own id.")] = None,
    journey: Annotated[str | None, Query(pattern=DOCUMENT_KEY)] = None,
    state: RunState | None = None,
) -> Page[RunAnswer]:
    """All runs, or those of a customer, a journey, a state. None of a customer whom nobody knows yet; 404 of an erased
    one."""
    customer = None if customer_id is None else await customer_of(session, customer_id)
    if customer is None and customer_id is not None:
        if await was_erased(session, customer_id):
            raise customer_not_found()
        return Page(data=[])
    rows = await page_of_runs(
        session,
        customer_id=customer.id if customer else None,
        journey=journey,
        state=state,
        before=wanted.after(TimeAndId),
        limit=wanted.probe,
    )
    return page(rows, wanted, lambda row: RunAnswer.of(row, dependencies), _position)


@router.get("/{run_id}", dependencies=[requires(Scope.JOURNEYS_READ)], summary="One run with its log")
async def get_run(run_id: UUID, session: Reading, dependencies: Dependencies) -> RunWithLog:
    """What happened at each step, when and why, and where the run stands in Temporal."""
    shown = _found(await find_run(session, run_id), run_id)
    return RunWithLog.of_log(shown, await run_log(session, run_id), dependencies)


@router.post("/{run_id}/exit", dependencies=[requires(Scope.JOURNEYS_WRITE)], summary="End a run by hand")
async def exit_run(
    *,
    run_id: UUID,
    session: Writing,
    dependencies: Dependencies,
    caller: Caller,
    as_of: AsOf,
    wish: ExitWish | None = None,
) -> RunWithLog:
    """Nothing is sent for this run any more once this is answered."""
    note = (wish or ExitWish()).reason
    if not await end_runs(session, Run.id == run_id, reason=BY_HAND, as_of=as_of, note=note):
        shown = _found(await find_run(session, run_id), run_id)
        raise Conflict(f"This run is over already: {shown.run.state}.", code="run_ended")
    write_audit(session, actor=caller.id, action="exit", target=f"run/{run_id}", at=as_of)
    shown = _found(await find_run(session, run_id), run_id)
    concerns(session, shown.run.customer_id)
    return RunWithLog.of_log(shown, await run_log(session, run_id), dependencies)


def _position(row: ShownRun) -> tuple[object, ...]:
    return (row.run.entered_at, row.run.id)


def _found(shown: ShownRun | None, run_id: UUID) -> ShownRun:
    if shown is None:
        raise NotFound(f"There is no run {run_id}.", code="run_not_found")
    return shown
