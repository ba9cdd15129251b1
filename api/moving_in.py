"""`POST /v1/loyalty/import`: what members had in a programme that was kept elsewhere, with a report of every row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from api.auth import Caller, requires
from api.beforehand import beforehand
from api.dependencies import AsOf, Dependencies, Writing
from api.imports import BODY, ImportAnswer, lines_and_format
from api.routing import ApiRoute
from domain.imports import ImportKind
from domain.keys import Scope
from domain.opening_rows import OpeningTotals
from triggers.importing import import_rows

router = APIRouter(prefix="/v1/loyalty", tags=["points"], route_class=ApiRoute)


class OpeningTotalsAnswer(BaseModel):
    """What was loaded for the first time: members, lots with their points, points that are owed, members by tier."""

    members: int
    lots: int
    points: int
    pending: int
    owed: int
    tiers: Mapping[str, int]

    @classmethod
    def of(cls, totals: OpeningTotals) -> Self:
        """From what was counted."""
        names = ("lots", "points", "pending", "owed", "tiers")
        return cls(members=len(totals.members), **{name: getattr(totals, name) for name in names})


class OpeningAnswer(ImportAnswer):
    """What became of the rows, or would become of them in a dry run."""

    dry_run: bool
    totals: OpeningTotalsAnswer


@router.post("/import", dependencies=[requires(Scope.LOYALTY_WRITE)], summary="Move members in", openapi_extra=BODY)
async def import_loyalty(
    *,
    request: Request,
    session: Writing,
    dependencies: Dependencies,
    caller: Caller,
    as_of: AsOf,
    dry_run: Annotated[bool, Query(description="Answer what would be loaded, and load nothing.")] = False,
) -> OpeningAnswer:
    """Points as lots with their own dates, points that are owed, and tiers, of customers who are known. A file in the
    forms of `POST /v1/customers/import` may be loaded again: rows that were loaded before change nothing."""
    lines, format_ = await lines_and_format(request)
    report = await beforehand(
        session,
        "imported",
        lambda: import_rows(
            *(dependencies.database, ImportKind.LOYALTY, lines, format_),
            as_of=as_of,
            by=caller.id,
            only_tries=dry_run,
        ),
    )
    counted = ImportAnswer.of(report).model_dump()
    return OpeningAnswer(**counted, dry_run=dry_run, totals=OpeningTotalsAnswer.of(report.totals))
