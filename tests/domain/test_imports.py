"""Files of past data: every line ends in a row or in a problem, whatever the file looks like."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.imports import (
    Encoding,
    ImportFormat,
    Row,
    RowError,
    RowProblem,
    encoding_named,
    lines_of,
    read_rows,
)

PEOPLE = [f"u-{n},Ann {n},Rome" for n in range(1, 6_001)]


def read(body: str | bytes, encoding: Encoding = Encoding.UTF_8) -> tuple[list[Row], list[RowProblem]]:
    lines = lines_of(body.encode() if isinstance(body, str) else body, encoding)
    told = list(read_rows(lines, ImportFormat.CSV))
    return [each for each in told if isinstance(each, Row)], [each for each in told if isinstance(each, RowProblem)]


def people(changes: dict[int, str]) -> str:
    """A file of 6,000 rows, some of them (the first is 1) written otherwise."""
    rows = [changes.get(number, row) for number, row in enumerate(PEOPLE, 1)]
    return "\n".join(["user_id,name,city", *rows]) + "\n"


@pytest.mark.parametrize(
    "others",
    [
        {},
        {4_000: 'u-4000,"Ann, B",Rome'},
        {4_000: 'u-4000,"",Rome', 5_000: '"u-5000","Ann","Rome"'},
        {3_900: 'u-3900,the 27",Rome'},
        {3_290: 'u-3290,27",Rome', 3_300: 'u-3300,"two\nlines",Rome'},
    ],
)
def test_an_unclosed_quote_costs_its_own_row_and_is_told_with_its_line(others: dict[int, str]) -> None:
    rows, problems = read(people({3_280: 'u-3280,"Ann 3280,Rome', **others}))
    assert [(each.row, each.code) for each in problems] == [(3_280, "csv_malformed")]
    assert "line 3,281: a quote is opened and not closed" in problems[0].message
    assert [row.values["user_id"] for row in rows] == [f"u-{n}" for n in range(1, 6_001) if n != 3_280]


def test_many_unclosed_quotes_cost_a_row_each() -> None:
    rows, problems = read(people({n: f'u-{n},"Ann,Rome' for n in range(100, 6_001, 100)}))
    assert [each.row for each in problems] == list(range(100, 6_001, 100))
    assert len(rows) == 6_000 - 60


def test_what_stands_in_a_broken_cell_becomes_no_row_of_its_own() -> None:
    rows, problems = read('user_id,name,city\nu-1,"Dear Ann,\nthanks\nBob" x,Rome\nu-2,Bob,Oslo\n')
    assert [row.values["user_id"] for row in rows] == ["u-2"]
    assert [each.row for each in problems] == [1, 2, 3]
    assert "line 3: after the quote that is not closed in line 2" in problems[1].message


def test_a_cell_in_quotes_may_break_lines() -> None:
    rows, problems = read('user_id,note,city\nu-1,"12 Main St\n\nApt 4, left",Rome\n\nu-2,"a ""b""",Oslo\n')
    assert [dict(row.values) for row in rows] == [
        {"user_id": "u-1", "note": "12 Main St\n\nApt 4, left", "city": "Rome"},
        {"user_id": "u-2", "note": 'a "b"', "city": "Oslo"},
    ]
    assert problems == []


def test_a_row_that_is_too_long_hides_none_after_it() -> None:
    rows, problems = read(people({10: f"u-10,{'x' * 1_000_001},Rome", 20: f'u-20,"{"x" * 140_000}",Rome'}))
    assert [(each.row, each.code) for each in problems] == [(10, "line_too_long"), (20, "csv_malformed")]
    assert len(rows) == 5_998


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_a_file_is_read_however_spreadsheets_write_it(ends: str, delimiter: str, mark: str, quote: str) -> None:
    table = [["user_id", "name", "city"], ["u-1", "Zoë", "Rome"], ["u-2", "Bob", ""]]
    body = mark + ends.join(delimiter.join(f"{quote}{cell}{quote}" for cell in row) for row in table) + ends
    rows, problems = read(body)
    assert [dict(row.values) for row in rows] == [
        {"user_id": "u-1", "name": "Zoë", "city": "Rome"},
        {"user_id": "u-2", "name": "Bob"},
    ]
    assert problems == []


def test_commas_in_cells_of_a_file_with_semicolons_are_text() -> None:
    rows, _ = read("user_id;name\nu-1;Müller, Zoë\n")
    assert rows[0].values == {"user_id": "u-1", "name": "Müller, Zoë"}


@pytest.mark.parametrize(
    ("body", "values"),
    [
        ('"user_id";"name, first, second"\n"u-1";"Ann, B"\n', {"user_id": "u-1", "name, first, second": "Ann, B"}),
        ('user_id;"name, first, second"\nu-1;Ann\n', {"user_id": "u-1", "name, first, second": "Ann"}),
        ("sep=;\r\nuser_id;name\r\nu-1;Ann, B\r\n", {"user_id": "u-1", "name": "Ann, B"}),
        ('\ufeff"sep=|"\nuser_id|name\nu-1|Ann\n', {"user_id": "u-1", "name": "Ann"}),
        ("\n \r\nuser_id,name\nu-1,Ann\n", {"user_id": "u-1", "name": "Ann"}),
        ("user_id,name,,\nu-1,Ann,,\n", {"user_id": "u-1", "name": "Ann"}),
    ],
)
def test_what_stands_before_and_in_a_header_is_no_row(body: str, values: dict[str, str]) -> None:
    rows, problems = read(body)
    assert [(row.number, row.values) for row in rows] == [(1, values)]
    assert problems == []


@pytest.mark.parametrize("header", ["user_id,total,total", "user_id,age, age:number", "user_id,a.b,a.b:json"])
def test_a_file_with_two_columns_of_one_name_is_refused_whole(header: str) -> None:
    rows, problems = read(f"{header}\nu-1,100,19\nu-2,100,19\n")
    assert rows == []
    assert [(each.row, each.code) for each in problems] == [(0, "column_repeated")]


def test_a_cell_under_no_name_or_of_a_value_that_is_an_object_refuses_its_row() -> None:
    rows, problems = read('user_id,,a.b,a:json\nu-1,lost,,\nu-2,,1,"{""c"": 2}"\nu-3,,1,\n')
    assert [row.values for row in rows] == [{"user_id": "u-3", "a": {"b": "1"}}]
    assert [(each.row, each.code) for each in problems] == [(1, "column_unnamed"), (2, "column_conflict")]


@pytest.mark.parametrize(
    ("codec", "encoding"),
    [("utf-16", Encoding.UTF_8), ("utf-16", Encoding.WINDOWS_1252), ("utf-8-sig", Encoding.WINDOWS_1252)],
)
def test_a_file_that_says_by_its_mark_what_it_is_is_never_read_as_something_else(
    codec: str, encoding: Encoding
) -> None:
    with pytest.raises(RowError, match=r"the file is UTF-16|the file says itself") as refused:
        read("user_id;name\nu-1;Zoë\n".encode(codec), encoding)
    assert refused.value.code == "encoding"


@pytest.mark.parametrize("ends", [b"\n", b"\r\n", b"\r"])
def test_a_file_in_another_encoding_is_refused_with_its_line_and_read_when_it_is_said(ends: bytes) -> None:
    body = ends.join([b"user_id,name", b"u-1,Ann", "u-2,Zoë – €".encode("cp1252"), b""])
    with pytest.raises(RowError, match="line 3 is not utf-8") as refused:
        read(body)
    assert refused.value.code == "encoding"
    rows, _ = read(body, Encoding.WINDOWS_1252)
    assert [row.values["name"] for row in rows] == ["Ann", "Zoë – €"]


def test_a_charset_is_known_by_its_names_or_refused() -> None:
    told = [encoding_named(each) for each in ("", "UTF-8", "ISO-8859-1", "windows-1252")]
    assert told == [Encoding.UTF_8, Encoding.UTF_8, Encoding.WINDOWS_1252, Encoding.WINDOWS_1252]
    with pytest.raises(RowError, match="utf-8 or windows-1252"):
        encoding_named("idna")


@given(st.lists(st.text(alphabet='u1,;"\t x', max_size=12), max_size=8))
def test_every_line_ends_in_a_row_or_a_problem(lines: list[str]) -> None:
    rows, problems = read("\n".join(["user_id,name,city", *lines]))
    numbers = [each.number for each in rows] + [each.row for each in problems]
    assert len(set(numbers)) == len(numbers)
    written = sum(bool(line) for line in lines)
    assert len(numbers) <= written
    if '"' not in "".join(lines):  # else a cell may break lines
        assert len(numbers) == written
