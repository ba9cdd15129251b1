"""Suppressions from files: rows in bounded transactions, with a report of each row not taken."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import datetime

from database.messages import Suppression
from database.session import Database
from database.suppression_lists import page_of_suppressions
from database.suppressions import suppress
from domain.imports import ImportFormat, RowProblem, read_rows
from domain.payload import find_fault
from domain.suppression_files import StatedSuppression, read_suppression
from triggers.importing import ROWS_AT_ONCE, ImportReport

_PAGE = 1_000


async def import_suppressions(
    database: Database, lines: Iterable[str], format_: ImportFormat, *, as_of: datetime, actor: str
) -> ImportReport:
    """Suppress what the rows name. May be repeated: what stands stays as it is."""
    report, waiting = ImportReport(), list[StatedSuppression]()
    for read in read_rows(lines, format_):
        report.rows += 1
        fault = None if isinstance(read, RowProblem) else find_fault(dict(read.values))
        if isinstance(read, RowProblem):
            taken: StatedSuppression | RowProblem = read
        elif fault is not None:
            taken = RowProblem(read.number, fault.code, f"{fault.pointer}: {fault.message}")
        else:
            taken = read_suppression(read, as_of)
        if isinstance(taken, RowProblem):
            report.refuse(taken)
        else:
            waiting.append(taken)
        if len(waiting) == ROWS_AT_ONCE:
            await _write(database, waiting, actor, report)
    await _write(database, waiting, actor, report)
    return report


async def exported_suppressions(database: Database, as_of: datetime) -> AsyncIterator[Suppression]:
    """All those in force, the latest first, read in pages."""
    before = None
    while True:
        async with database.read() as session:
            rows = await page_of_suppressions(session, as_of=as_of, before=before, limit=_PAGE)
        for row in rows:
            yield row
        if len(rows) < _PAGE:
            return
        before = (rows[-1].at, rows[-1].id)


async def _write(database: Database, rows: list[StatedSuppression], actor: str, report: ImportReport) -> None:
    async with database.transaction() as session:
        for row in rows:
            await suppress(session, row.channel, [row.address], reason=row.cause, at=row.at, actor=actor, note=row.note)
    report.imported += len(rows)
    rows.clear()
