"""Imports: rows become events, products and posts in bounded transactions, with a report of each row not taken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice

from database.erasures import IdentityRef, erased_since
from database.events import append
from database.products import describe
from database.session import Database, WriteSession
from database.shop_settings import shop_settings
from database.social_posts import write_posts
from domain.client_addresses import with_networks_only
from domain.commerce import ProductFact
from domain.events import NewEvent
from domain.import_presets import Preset, rows_of
from domain.imported_rows import Imported, Retold, take_row
from domain.imports import ImportFormat, ImportKind, RowProblem, read_rows
from domain.local_time import resolve_zone
from domain.opening_rows import OpeningRow, OpeningTotals
from domain.social import MeasuredPost
from triggers.consent_statements import find_withdrawn, statement_of
from triggers.erased_addresses import find_erased_addresses
from triggers.erased_ids import not_named_again
from triggers.import_owners import name_owners
from triggers.import_returns import Numbered, count_returns
from triggers.moving_in import move_in

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
    totals: OpeningTotals = field(default_factory=OpeningTotals)

    def refuse(self, problem: RowProblem) -> None:
        """This row was not taken."""
        self.refused += 1
        self.problem(problem)

    def problem(self, problem: RowProblem) -> None:
        """Something of this row was not taken."""
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(problem)


_WITHDRAWN = (
    "consent.{purpose}: the customer has withdrawn it, which a state without a time and evidence of its own does not "
    "override; the rest of the row was taken"
)

_ERASED_ADDRESS = (
    "the address was somebody's who was erased: if this is that person under another id, erase this customer too; the "
    "row was taken, and gets no marketing without a new consent"
)

Progress = Callable[[ImportReport], None]


async def import_rows(
    database: Database,
    kind: ImportKind,
    lines: Iterable[str],
    format_: ImportFormat,
    *,
    as_of: datetime,
    enter: bool = False,
    truncate_ip: bool = False,
    progress: Progress = lambda report: None,
    by: str = "cli",
    only_tries: bool = False,
    preset: Preset | None = None,
) -> ImportReport:
    """Read and take in rows as they come; a bad row never stops the others. `progress` hears after every 500 rows.

    Journeys start from what is imported only if `enter` says so; `truncate_ip` keeps clients' networks only. `by` is
    the key that imports. `only_tries`: the report is what it would be, and nothing is kept; for what members had
    elsewhere. `preset` says whose export of customers or orders the file is.

    May be repeated after any failure: rows that were taken are told apart by their content.
    """
    importer = _Importer(database, as_of, enter=enter, truncate_ip=truncate_ip, by=by, only_tries=only_tries)
    async with database.read() as session:
        shop = await shop_settings(session)
    rows = read_rows(lines, format_, plain=preset is not None)
    if preset is not None:
        rows = rows_of(preset, kind, rows, resolve_zone(None, shop.zone))
    while page := list(islice(rows, ROWS_AT_ONCE)):
        if preset is not None:
            async with database.read() as session:
                page = await name_owners(session, page)
        for read in page:
            importer.report.rows += 1
            if isinstance(read, RowProblem):
                importer.report.refuse(read)
            else:
                importer.add(read.number, take_row(kind, read, currency=shop.currency, as_of=as_of))
        await importer.flush()
        progress(importer.report)
    progress(importer.report)
    return importer.report


class _OnlyTried(Exception):  # noqa: N818  # not an error: it ends a transaction of which nothing is kept
    """What was written was only to see what comes of it."""


class _Importer:
    """Gathers rows and writes them together."""

    def __init__(
        self, database: Database, as_of: datetime, *, enter: bool, truncate_ip: bool, by: str, only_tries: bool
    ) -> None:
        self.report = ImportReport()
        self._database = database
        self._as_of = as_of
        self._enter = enter
        self._truncate_ip = truncate_ip
        self._by = by
        self._only_tries = only_tries
        self._retold = Retold()
        self._rows: list[Numbered] = []
        self._products: list[ProductFact] = []
        self._posts: list[MeasuredPost] = []
        self._openings: list[tuple[int, OpeningRow]] = []
        self._said: dict[str, int] = {}  # what rows about points and tiers are about, and which row that was

    def add(self, number: int, taken: Imported | RowProblem) -> None:
        match taken:
            case RowProblem():
                self.report.refuse(taken)
            case ProductFact():
                self._products.append(taken)
            case MeasuredPost():
                self._posts.append(taken)
            case OpeningRow():
                self._add_opening(number, taken)
            case _:
                told = self._retold.tell_apart(taken)
                kept = map(with_networks_only, told) if self._truncate_ip else told
                self._rows.append((number, [replace(event, enters=self._enter) for event in kept]))

    def _add_opening(self, number: int, row: OpeningRow) -> None:
        for said in row.about:
            if said in self._said:
                what = f"row {self._said[said]} is about the same; name each lot of a member by a reference of its own"
                self.report.refuse(RowProblem(number, "repeated", what))
                return
        self._said |= dict.fromkeys(row.about, number)
        self._openings.append((number, row))

    async def flush(self) -> None:
        with suppress(_OnlyTried):
            await self._write()
        self._rows, self._products, self._posts, self._openings = [], [], [], []

    async def _write(self) -> None:
        async with self._database.transaction() as session:
            await describe(session, self._products)
            posts = await write_posts(session, self._posts)
            kept = await count_returns(session, await self._without_the_erased(session))
            await self._report_erased_addresses(session, kept)
            rows = await self._without_withdrawn(session, kept)
            events = [event for row in rows for event in row]
            result = await append(session, events)
            await self._move_in(session)
            if self._only_tries:
                raise _OnlyTried
        accepted = {events[position].id for position in result.accepted}
        new = sum(any(event.id in accepted for event in row) for row in rows)
        self.report.imported += new + len(self._products) + posts
        self.report.duplicates += len(rows) - new + len(self._posts) - posts

    async def _move_in(self, session: WriteSession) -> None:
        if not self._openings:
            return
        moved = await move_in(session, self._openings, self.report.totals, self._as_of, by=self._by)
        for problem in moved.refused:
            self.report.refuse(problem)
        self.report.imported += moved.new
        self.report.duplicates += moved.known

    async def _without_withdrawn(self, session: WriteSession, rows: Sequence[Numbered]) -> list[list[NewEvent]]:
        """Each row without what only states a consent that the customer has taken back. The rest of it is taken."""
        stated = {event.id: statement for _, row in rows for event in row if (statement := statement_of(event, row))}
        void = await find_withdrawn(session, stated)
        for number, row in rows:
            for purpose in sorted(stated[event.id].purpose for event in row if event.id in void):
                self.report.problem(RowProblem(number, "consent_withdrawn", _WITHDRAWN.format(purpose=purpose)))
        return [[event for event in row if event.id not in void] for _, row in rows]

    async def _report_erased_addresses(self, session: WriteSession, rows: Sequence[Numbered]) -> None:
        for number in await find_erased_addresses(session, rows, self._as_of):
            self.report.problem(RowProblem(number, "erased_address", _ERASED_ADDRESS))

    async def _without_the_erased(self, session: WriteSession) -> list[Numbered]:
        """The router would drop their events; here the row is reported too."""
        people = {IdentityRef("user", event.user_id) for _, row in self._rows for event in row if event.user_id}
        erased = await not_named_again(session, {each.value for each in await erased_since(session, sorted(people))})
        for number, row in self._rows:
            if any(event.user_id in erased for event in row):
                self.report.refuse(RowProblem(number, "erased", "this customer was erased and is not imported again"))
        return [(number, row) for number, row in self._rows if not any(event.user_id in erased for event in row)]
