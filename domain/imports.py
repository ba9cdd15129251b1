"""Past data as people keep it in files: one reader, whoever sends them, that accounts for each row.

What a row becomes is in `domain/imported_rows.py`.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, BinaryIO, TextIO

import orjson

MOST_COLUMNS = 500
LONGEST_LINE = 1_000_000
MOST_LINES = 1_000
"""Lines that one row of a CSV may have: cells in quotes may break lines. What goes on for longer was never closed."""
_MOST_LINES_BEHIND = 50
"""The same behind a quote that was not closed, where each line is tried again: many such rows must not cost minutes."""
_DELIMITERS = ",;\t"
_FEWEST_COLUMNS = 3
"""Of a file whose whole lines tell themselves apart from the lines of a cell by their number of cells."""


class ImportKind(StrEnum):
    """What the rows of a file are."""

    CUSTOMERS = "customers"
    PRODUCTS = "products"
    ORDERS = "orders"
    POSTS = "posts"
    LOYALTY = "loyalty"


class ImportFormat(StrEnum):
    """How a file is written."""

    CSV = "csv"
    JSON_LINES = "jsonl"


class Encoding(StrEnum):
    """How the characters of a file are written."""

    UTF_8 = "utf-8"
    WINDOWS_1252 = "windows-1252"


_LONGEST_MARK = len(codecs.BOM_UTF8)
_CODECS = {Encoding.UTF_8: "utf-8-sig", Encoding.WINDOWS_1252: "cp1252"}
_ENCODINGS = {
    "": Encoding.UTF_8,
    "utf8": Encoding.UTF_8,
    "us-ascii": Encoding.UTF_8,
    # As browsers read it: what calls itself Latin-1 is Windows' extension of it.
    "iso-8859-1": Encoding.WINDOWS_1252,
    "latin-1": Encoding.WINDOWS_1252,
    "latin1": Encoding.WINDOWS_1252,
    "cp1252": Encoding.WINDOWS_1252,
} | {each.value: each for each in Encoding}


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file; the first row of data is 1."""

    number: int
    values: Mapping[str, Any]  # any JSON
    guest: str | None = None  # of an order: the address of somebody who is known by it alone


@dataclass(frozen=True, slots=True)
class RowProblem:
    """Why a row was not taken: a stable code and a sentence that says how to mend it."""

    row: int
    code: str
    message: str


class RowError(ValueError):
    """Raised while a row is read; becomes its RowProblem."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def encoding_named(charset: str) -> Encoding:
    """The encoding that a `charset` names; none is UTF-8. Raises RowError for one that is not read here."""
    try:
        return _ENCODINGS[charset.strip().strip('"').lower()]
    except KeyError:
        raise RowError("encoding", f"the charset may be {' or '.join(Encoding)}") from None


def text_of(file: BinaryIO, encoding: Encoding = Encoding.UTF_8) -> TextIO:
    """The lines of a file, ended by LF, CR LF or CR, without a byte order mark. It is looked through once beforehand:
    raises RowError where it is in another encoding, so that no character is ever replaced by another."""
    if (fault := _marked_otherwise(file.read(_LONGEST_MARK), encoding)) is not None:
        raise RowError("encoding", fault)
    file.seek(0)
    for number, line in enumerate(file, 1):
        try:
            line.decode(_CODECS[encoding])
        except UnicodeDecodeError as error:
            at = number + line[: error.start].count(b"\r")
            what = f"line {at:,} is not {encoding}: save the file as UTF-8, or say that it is {Encoding.WINDOWS_1252}"
            raise RowError("encoding", what) from None
    file.seek(0)
    return io.TextIOWrapper(file, _CODECS[encoding], newline="")


def _marked_otherwise(start: bytes, encoding: Encoding) -> str | None:
    """Why a file is in another encoding that says by its first bytes what it is."""
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "the file is UTF-16, which Excel calls Unicode text: save it as CSV UTF-8"
    if start.startswith(codecs.BOM_UTF8) and encoding is not Encoding.UTF_8:
        return f"the file says itself that it is UTF-8: leave out that it is {encoding}"
    return None


def lines_of(body: bytes, encoding: Encoding = Encoding.UTF_8) -> TextIO:
    """The lines of a file that came whole, as `text_of`."""
    return text_of(io.BytesIO(body), encoding)


def read_rows(lines: Iterable[str], format_: ImportFormat, *, plain: bool = False) -> Iterator[Row | RowProblem]:
    """The rows of a file, read as they come; every line that is not blank is part of a row or of a problem.

    The cells of a CSV are parted by what its header uses: commas, semicolons or tabs. An empty cell is no value;
    `name:number` and `:boolean` are typed. A quote that is never closed costs its own line. `plain`: the columns' names
    are somebody else's, and mean nothing.
    """
    return _read_csv(_Lines(lines), plain=plain) if format_ is ImportFormat.CSV else _read_json_lines(lines)


class _Lines:
    """The lines of a file one by one. Those of a row that turned out to be none are put back."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._put_back = deque[str]()
        self.number = 0
        """Of the line that was handed out last; the first is 1."""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._put_back.popleft() if self._put_back else next(self._lines)
        self.number += 1
        return line

    def put_back(self, lines: list[str]) -> None:
        self._put_back.extendleft(reversed(lines))
        self.number -= len(lines)


def _read_csv(lines: _Lines, *, plain: bool) -> Iterator[Row | RowProblem]:
    delimiter = _stated_delimiter(lines) or _delimiter(lines)
    names, taken, fault = _cells(lines, delimiter, MOST_LINES)
    if (problem := _header_problem(names, fault, plain=plain)) is not None:
        yield problem
        return
    header = [name.strip() for name in names] if plain else _header(names)
    number = opened = swallowed = 0  # `opened`: the line of the last quote without end; `swallowed`: how far it went
    while True:
        number += 1
        most = MOST_LINES if lines.number >= swallowed else _MOST_LINES_BEHIND
        cells, taken, fault = _cells(lines, delimiter, most)
        if not taken:
            return
        at = lines.number - len(taken) + 1
        if len(taken) > 1 and (fault or len(cells) > len(header) or _are_rows(taken, delimiter, len(header))):
            opened, swallowed = at, max(swallowed, lines.number)
            lines.put_back(taken[1:])
            yield RowProblem(number, "csv_malformed", f"line {at:,}: a quote is opened and not closed")
        elif fault is not None:
            yield RowProblem(number, fault.code, f"line {at:,}: this row cannot be read: {fault}")
        elif cells and at <= swallowed and len(cells) != len(header):
            what = f"line {at:,}: after the quote that is not closed in line {opened:,}, this is no whole row"
            yield RowProblem(number, "csv_malformed", what)
        elif cells:
            try:
                yield Row(number, _from_cells(header, cells, plain=plain))
            except RowError as error:
                yield RowProblem(number, error.code, str(error))


def _stated_delimiter(lines: _Lines) -> str | None:
    """What Excel's first line `sep=;` says, which is no header; blank lines before the header are none either."""
    for line in lines:
        if stated := re.fullmatch(r"sep=(.)", line.strip("\r\n").strip('"')):
            return stated[1]
        if line.strip():
            lines.put_back([line])
            return None
    return None


def _delimiter(lines: _Lines) -> str:
    """What parts most columns in the header, outside quotes."""
    first = next(lines, "")
    lines.put_back([first])
    unquoted = "".join(first.split('"')[::2])
    return max(_DELIMITERS, key=unquoted.count)


def _cells(lines: _Lines, delimiter: str, most: int) -> tuple[list[str], list[str], RowError | None]:
    """The next row's cells, the lines they stand in, and what is wrong with them. No lines: the file is at its end."""
    taken: list[str] = []
    try:
        return next(csv.reader(_kept(lines, taken, most), delimiter=delimiter, strict=True), []), taken, None
    except csv.Error as error:
        return [], taken, RowError("csv_malformed", str(error))
    except RowError as error:
        return [], taken, error


def _kept(lines: _Lines, taken: list[str], most: int) -> Iterator[str]:
    length = 0
    for line in lines:
        taken.append(line)
        length += len(line)
        if length > LONGEST_LINE:
            raise RowError("line_too_long", f"a row may have {LONGEST_LINE:,} characters")
        if len(taken) > most:
            raise RowError("line_too_long", f"a row may have {most:,} lines")
        yield line


def _are_rows(lines: list[str], delimiter: str, columns: int) -> bool:
    """Whether the lines of one row are whole rows each: a quote was opened, and one much later happens to close it."""
    return columns >= _FEWEST_COLUMNS and all(line.count(delimiter) == columns - 1 for line in lines)


def _header(names: Iterable[str]) -> list[str]:
    """The columns' names; `consent.marketing` is the state where columns such as `consent.marketing.at` stand by it."""
    header = [name.strip() for name in names]
    objects = {name.rpartition(".")[0] for name in header if name.count(".") > 1 and name.startswith("consent.")}
    return [f"{name}.state" if name in objects else name for name in header]


def _header_problem(names: list[str], fault: RowError | None, *, plain: bool) -> RowProblem | None:
    """Why no row of the file can be read."""
    if fault is not None:
        return RowProblem(0, "csv_malformed", f"the header cannot be read: {fault}")
    if len(names) > MOST_COLUMNS:
        return RowProblem(0, "too_many_columns", f"at most {MOST_COLUMNS} columns")
    if (twice := _repeated(names, plain=plain)) is not None:
        what = f"several columns are called {twice!r}, of which a row would keep one only: rename or remove the others"
        return RowProblem(0, "column_repeated", what)
    return None


def _repeated(names: Iterable[str], *, plain: bool) -> str | None:
    """The first name that an earlier column has too. A type behind it does not tell two columns apart."""
    seen: set[str] = set()
    for column in names:
        name = column.strip() if plain else column.partition(":")[0].strip()
        if name and name in seen:
            return name
        seen.add(name)
    return None


def _from_cells(header: list[str], cells: list[str], *, plain: bool) -> dict[str, Any]:
    if len(cells) > len(header):
        raise RowError("too_many_cells", f"{len(cells)} cells under {len(header)} columns; is a comma not quoted?")
    for number, (column, cell) in enumerate(zip(header, cells, strict=False), 1):
        if cell.strip() and not column.partition(":")[0]:
            what = f"column {number:,} has no name: name it in the first line, or leave its cells empty"
            raise RowError("column_unnamed", what)
    if plain:
        return {name: cell.strip() for name, cell in zip(header, cells, strict=False) if cell.strip() and name}
    values: dict[str, Any] = {}
    for column, cell in zip(header, cells, strict=False):
        name, _, kind = column.partition(":")
        if cell.strip() and name:
            _place(values, name.split("."), typed(cell.strip(), kind, name))
    return values


def _place(values: dict[str, Any], path: list[str], value: Any) -> None:
    """`address.city` goes into an object `address`."""
    for step in path[:-1]:
        inner = values.setdefault(step, {})
        if not isinstance(inner, dict):
            raise RowError("column_conflict", f"{step!r} is both a value and an object")
        values = inner
    if path[-1] in values:
        raise RowError("column_conflict", f"{path[-1]!r} is both a value and an object")
    values[path[-1]] = value


def typed(cell: str, kind: str, name: str) -> Any:
    """A cell as what its column says it is. Raises RowError."""
    try:
        match kind:
            case "":
                return cell
            case "number":
                return orjson.loads(cell)
            case "boolean":
                return {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}[cell.lower()]
            case "json":
                return orjson.loads(cell)
            case _:
                raise RowError("unknown_type", f"{name}:{kind}: a type is number, boolean or json")
    except (KeyError, orjson.JSONDecodeError):
        raise RowError("wrong_type", f"{name}: the cell is no {kind}") from None


def _read_json_lines(lines: Iterable[str]) -> Iterator[Row | RowProblem]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if len(line) > LONGEST_LINE:
            yield RowProblem(number, "line_too_long", f"a line may have {LONGEST_LINE:,} characters")
            continue
        try:
            values = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            yield RowProblem(number, "json_malformed", f"not JSON: {error}")
            continue
        if isinstance(values, dict):
            yield Row(number, values)
        else:
            yield RowProblem(number, "not_an_object", "each line must be one JSON object")
