"""Imports: rows become events and products in bounded transactions, with a report of each row that was not taken."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from database.events import append
from database.products import describe
from database.session import Database
from database.shop_settings import shop_settings
from domain.commerce import ProductFact
from domain.events import NewEvent
from domain.imports import ImportFormat, ImportKind, RowProblem, read_rows, take_row

ROWS_AT_ONCE = 500
MOST_PROBLEMS = 1_000
"""Problems that a report lists; beyond, they are only counted."""


@dataclass(slots=True)
class ImportReport:
    """How an import stands: rows read, taken for the first time, known already, and refused with reasons."""

    rows: int = 0
    imported: int = 0
    duplicates: int = 0
    refused: int = 0
    problems: list[RowProblem] = field(default_factory=list)

    def refuse(self, problem: RowProblem) -> None:
        """This row was not taken."""
        self.refused += 1
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(problem)


Progress = Callable[[ImportReport], None]


async def import_rows(
    database: Database,
    kind: ImportKind,
    lines: Iterable[str],
    format_: ImportFormat,
    *,
    as_of: datetime,
    progress: Progress = lambda report: None,
) -> ImportReport:
    """Read and take in rows as they come; a bad row never stops the others. `progress` hears after every 500 rows.

    May be repeated after any failure: rows that were taken are told apart by their content.
    """
    importer = _Importer(database, as_of)
    async with database.read() as session:
        currency = (await shop_settings(session)).currency
    for read in read_rows(lines, format_):
        importer.report.rows += 1
        taken = read if isinstance(read, RowProblem) else take_row(kind, read, currency=currency, as_of=as_of)
        if isinstance(taken, RowProblem):
            importer.report.refuse(taken)
        else:
            importer.add(taken)
        if importer.report.rows % ROWS_AT_ONCE == 0:
            await importer.flush()
            progress(importer.report)
    await importer.flush()
    progress(importer.report)
    return importer.report


class _Importer:
    """Gathers rows and writes them together."""

    def __init__(self, database: Database, as_of: datetime) -> None:
        self.report = ImportReport()
        self._database = database
        self._as_of = as_of
        self._rows: list[list[NewEvent]] = []
        self._products: list[ProductFact] = []

    def add(self, taken: list[NewEvent] | ProductFact) -> None:
        if isinstance(taken, ProductFact):
            self._products.append(taken)
        else:
            self._rows.append(taken)

    async def flush(self) -> None:
        events = [event for row in self._rows for event in row]
        async with self._database.transaction() as session:
            await describe(session, self._products)
            result = await append(session, events)
        accepted = {events[position].id for position in result.accepted}
        new = sum(any(event.id in accepted for event in row) for row in self._rows)
        self.report.imported += new + len(self._products)
        self.report.duplicates += len(self._rows) - new
        self._rows, self._products = [], []
