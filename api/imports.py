"""`POST /v1/customers/import`: past customers as CSV or JSON lines, with a report of each row that was not taken."""

from __future__ import annotations

from email.message import Message
from typing import Annotated, TextIO

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from api.auth import requires
from api.beforehand import beforehand
from api.dependencies import AsOf, Dependencies, Writing
from api.routing import ApiRoute
from domain.errors import Malformed
from domain.import_presets import Preset
from domain.imports import ImportFormat, ImportKind, RowError, encoding_named, lines_of
from domain.keys import Scope
from triggers.importing import ImportReport, import_rows

router = APIRouter(prefix="/v1/customers", tags=["customers"], route_class=ApiRoute)

_LINES = {"description": "A row a line; what is wrong with one is reported", "minLength": 1}
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "text/csv": {"schema": _LINES},
            "application/x-ndjson": {"schema": _LINES},
        },
    }
}


class ImportProblem(BaseModel):
    """A row that was not taken; the first row of data is 1."""

    row: int
    code: str
    message: str


class ImportAnswer(BaseModel):
    """What became of the rows; at most 1,000 problems are listed."""

    rows: int
    imported: int
    duplicates: int
    rejected: int
    errors: list[ImportProblem]

    @classmethod
    def of(cls, report: ImportReport) -> ImportAnswer:
        """The report as the API answers it."""
        errors = [ImportProblem(row=each.row, code=each.code, message=each.message) for each in report.problems]
        return cls(
            rows=report.rows,
            imported=report.imported,
            duplicates=report.duplicates,
            rejected=report.refused,
            errors=errors,
        )


@router.post("/import", dependencies=[requires(Scope.CUSTOMERS_WRITE)], summary="Import customers", openapi_extra=BODY)
async def import_customers(
    *,
    request: Request,
    session: Writing,
    dependencies: Dependencies,
    as_of: AsOf,
    enter: Annotated[bool, Query(description="Whether journeys may start from what is imported.")] = False,
    preset: Annotated[Preset | None, Query(description="Whose export the file is, with its own columns.")] = None,
) -> ImportAnswer:
    """CSV (commas, semicolons or tabs) if the Content-Type says `text/csv`, else one JSON object a line, in UTF-8 or in
    the `charset` windows-1252. A bad row never rejects its neighbours."""
    lines, format_ = await lines_and_format(request)
    database = dependencies.database
    report = await beforehand(
        session,
        "imported",
        lambda: import_rows(
            *(database, ImportKind.CUSTOMERS, lines, format_),
            as_of=as_of,
            enter=enter,
            truncate_ip=dependencies.truncate_ip,
            preset=preset,
        ),
    )
    return ImportAnswer.of(report)


async def lines_and_format(request: Request) -> tuple[TextIO, ImportFormat]:
    """The lines of a file that was posted, and how it is written by its Content-Type. Raises Malformed."""
    body = await request.body()
    if not body:
        raise Malformed("the body is empty: send CSV or JSON lines")
    told = Message()
    told["Content-Type"] = request.headers.get("content-type", "")
    format_ = ImportFormat.CSV if told.get_content_type() == "text/csv" else ImportFormat.JSON_LINES
    try:
        return lines_of(body, encoding_named(told.get_content_charset(""))), format_
    except RowError as error:
        raise Malformed(str(error), code=error.code) from None
