"""Addresses that get no mail: listed, added, released with a reason, exported and imported."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse

from api.auth import Caller, requires
from api.beforehand import beforehand
from api.dependencies import AsOf, Dependencies, Reading, Writing
from api.imports import BODY, ImportAnswer, lines_and_format
from api.pagination import Page, PageRequest, TimeAndId, page, page_request
from api.routing import ApiRoute
from api.suppression_answers import ReleaseWish, SuppressionAnswer, SuppressionWish
from database.audit import write_audit
from database.session import Database
from database.suppression_lists import (
    add_suppression,
    find_suppression,
    page_of_suppressions,
    release_suppression,
)
from domain.errors import Conflict, NotFound
from domain.keys import Scope
from domain.suppressions import Cause
from triggers.suppression_files import exported_suppressions, import_suppressions

router = APIRouter(prefix="/v1/suppressions", tags=["customers"], route_class=ApiRoute)
_LINES: dict[int | str, dict[str, Any]] = {  # FastAPI's type of `responses`
    200: {"description": "A suppression a line", "content": {"application/x-ndjson": {"schema": {"type": "string"}}}}
}
READ, WRITE = [requires(Scope.CUSTOMERS_READ)], [requires(Scope.CUSTOMERS_WRITE)]


@router.get("", dependencies=READ, summary="List suppressions, the latest first")
async def list_suppressions(
    *,
    session: Reading,
    as_of: AsOf,
    wanted: Annotated[PageRequest, Depends(page_request)],
    address: Annotated[str | None, Query(max_length=300, description="Also one that only a hash is kept of.")] = None,
    channel: Literal["email", "sms"] = "email",
    reason: Cause | None = None,
    released: Annotated[bool, Query(description="Show those too that were released or have ended.")] = False,
) -> Page[SuppressionAnswer]:
    """Those in force, or all; of one address (of `channel`), of one class."""
    before = wanted.after(TimeAndId)
    rows = await page_of_suppressions(
        session,
        as_of=as_of,
        address=address,
        channel=channel,
        cause=reason,
        standing=not released,
        before=before,
        limit=wanted.probe,
    )
    return page(rows, wanted, SuppressionAnswer.of, lambda row: (row.at, row.id))


@router.post("", dependencies=WRITE, summary="Suppress an address")
async def add(wish: SuppressionWish, session: Writing, caller: Caller, as_of: AsOf) -> SuppressionAnswer:
    """Counts at once, also for people who are no customers: marketing that waits for the address is cancelled. Of one
    class an address has one suppression: one that stands is answered as it is."""
    row = await add_suppression(
        session, wish.channel, wish.address, wish.reason, at=as_of, actor=caller.id, note=wish.note
    )
    detail = {"reason": wish.reason, "channel": wish.channel}
    write_audit(session, actor=caller.id, action="suppress", target=f"suppression/{row.id}", at=as_of, detail=detail)
    return SuppressionAnswer.of(row)


@router.get(
    "/export", dependencies=READ, summary="Export suppressions", response_class=StreamingResponse, responses=_LINES
)
async def export(dependencies: Dependencies, as_of: AsOf) -> StreamingResponse:
    """All those in force, one JSON object a line, as the import takes them."""
    return StreamingResponse(_lines(dependencies.database, as_of), media_type="application/x-ndjson")


async def _lines(database: Database, as_of: datetime) -> AsyncIterator[bytes]:
    async for row in exported_suppressions(database, as_of):
        yield SuppressionAnswer.of(row).as_line().encode()


@router.post("/import", dependencies=WRITE, summary="Import suppressions", openapi_extra=BODY)
async def import_(
    request: Request, session: Writing, dependencies: Dependencies, caller: Caller, as_of: AsOf
) -> ImportAnswer:
    """CSV if the Content-Type says `text/csv`, else one JSON object a line: `address`, and `channel`, `reason`, `at`,
    `note`. A bad row never rejects its neighbours; what stands stays as it is."""
    lines, format_ = await lines_and_format(request)
    database = dependencies.database
    report = await beforehand(
        session,
        "imported",
        lambda: import_suppressions(database, lines, format_, as_of=as_of, actor=caller.id),
    )
    write_audit(
        session, actor=caller.id, action="import", target="suppressions", at=as_of, detail={"rows": report.rows}
    )
    return ImportAnswer.of(report)


@router.post("/{suppression_id}/release", dependencies=WRITE, summary="Let mail go to the address again")
async def release(
    suppression_id: UUID, wish: ReleaseWish, session: Writing, caller: Caller, as_of: AsOf
) -> SuppressionAnswer:
    """As far as this suppression is concerned: consent is asked as before. 409 `released` when somebody has."""
    if await find_suppression(session, suppression_id) is None:
        raise NotFound("There is no suppression with this id.", code="suppression_not_found")
    if not await release_suppression(session, suppression_id, at=as_of, actor=caller.id, note=wish.reason):
        raise Conflict("This suppression was released before.", code="released")
    write_audit(session, actor=caller.id, action="release", target=f"suppression/{suppression_id}", at=as_of)
    row = await find_suppression(session, suppression_id)
    if row is None:
        raise NotFound("There is no suppression with this id.", code="suppression_not_found")
    return SuppressionAnswer.of(row)
