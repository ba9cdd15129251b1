"""Documents as files: what is written reads back as the same document, and differences are shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Malformed, NotFound, Unavailable
from domain.yaml import read_yaml
from perennial.document_files import difference, find_documents, read_files, write_document, write_yaml
from perennial.document_kinds import Name, in_documented_order, in_order

# What a JSON body can hold and YAML can write: no control characters but those of ordinary text.
text = st.text(st.characters(codec="utf-8", categories=("L", "M", "N", "P", "S", "Zs")), max_size=20)
scalars = st.none() | st.booleans() | st.integers() | text
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=10
)


@given(st.dictionaries(text, documents, max_size=4))
def test_every_document_reads_back_as_it_was_written(document: dict[str, Any]) -> None:
    assert read_yaml(write_yaml(document)) == document


@pytest.mark.parametrize(
    "word", ["on", "yes", "1e3", "10:00", "0o17", "2026-01-02", "~", "null", "", "=", "a: b", "- a"]
)
def test_words_that_look_like_something_else_stay_words(word: str) -> None:
    assert read_yaml(write_yaml({"journey": word})) == {"journey": word}


def test_texts_of_several_lines_are_written_as_lines() -> None:
    assert write_yaml({"body": "Dear {{ name }},\nthank you.\n"}) == "body: |\n  Dear {{ name }},\n  thank you.\n"


WELCOME = Name("journey", "welcome")
HELLO = Name("template", "hello")


def test_a_folder_gives_documents_of_every_kind_as_they_were_written_to_it(tmp_path: Path) -> None:
    documents: dict[Name, dict[str, Any]] = {
        WELCOME: {"journey": "welcome", "steps": []},
        HELLO: {"template": "hello", "subject": "Hello"},
        Name("reward", "welcome"): {"reward": "welcome", "gives": {"gift": "tea"}},
    }
    for name, document in documents.items():
        write_document(tmp_path, name, document)

    assert read_files([tmp_path]) == documents
    assert read_files([tmp_path / "templates" / "hello.yaml"]) == {HELLO: documents[HELLO]}


@pytest.mark.parametrize("missing", ["welcome.yaml", "journeys"])
def test_a_path_that_is_not_there_is_no_empty_folder(tmp_path: Path, missing: str) -> None:
    with pytest.raises(NotFound, match=f"{missing}: there is no such file or folder"):
        read_files([tmp_path / missing])


def test_a_folder_without_documents_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no \.yaml file"):
        read_files([tmp_path])


def test_two_files_of_one_document_are_named(tmp_path: Path) -> None:
    for file in ("a.yaml", "b.yaml"):
        (tmp_path / file).write_text("journey: welcome")

    with pytest.raises(Malformed, match=r"b\.yaml: .*a\.yaml is the journey welcome already"):
        read_files([tmp_path])


def test_file_that_is_no_document_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.yaml").write_text("just words")

    with pytest.raises(Malformed, match=r"notes\.yaml: a document begins with what it is"):
        read_files([tmp_path])


def test_a_file_that_cannot_be_read_costs_no_other_document(tmp_path: Path) -> None:
    files = {
        "a.yaml": b"journey: a\n",
        "b.yml": b"journey: b\n",
        "c.yaml": b"journey: c\njourney: c\n",
        "d.yaml": "journey: d\nname: Caf\u00e9\n".encode("latin-1"),
        "e.yaml": b"",
        "f.yaml": b"journey: f\n---\njourney: g\n",
        "h.yaml": b"journey: h\n",
        "i.yaml": b"journey: h\n",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)

    found = find_documents([tmp_path / "missing", tmp_path])

    assert list(found.documents) == [Name("journey", "a"), Name("journey", "b")]
    names = [fault.detail.partition(":")[0].removeprefix(f"{tmp_path}/") for fault in found.faults]
    assert names == ["missing", "c.yaml", "d.yaml", "e.yaml", "f.yaml", "i.yaml"]
    assert "cannot be read as UTF-8 text" in found.faults[2].detail


def test_a_document_is_written_into_no_file_and_begins_with_what_it_is(tmp_path: Path) -> None:
    template = {"html": "<p>Hello</p>", "subject": "Hello", "template": "hello"}
    assert lines(HELLO, template)[0] == "template: hello"
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot be written"):
        write_document(tmp_path / "file", HELLO, template)


def test_difference_is_shown_line_by_line() -> None:
    there, here = {"journey": "welcome", "name": "Hello"}, {"journey": "welcome", "name": "Hi"}

    assert "-name: Hello\n+name: Hi" in difference(WELCOME, there, here)
    assert difference(WELCOME, here, here) == ""


def lines(name: Name, document: dict[str, Any]) -> list[str]:
    return [line.strip() for line in write_yaml(in_documented_order(name.kind, document)).splitlines()]


def test_members_are_written_in_the_order_of_the_reference_however_the_database_keeps_them() -> None:
    document: dict[str, Any] = {
        "exit": [{"event": "Left"}],
        "name": "Welcome",
        "steps": [
            {"wait": {"for": "1d", "days": ["mon"], "until": "10:00"}},
            {"branch": [{"steps": [{"exit": "rich"}], "if": {"gte": 3, "over": "Order", "aggregate": "count"}}]},
        ],
        "enter": {"if": {"ne": "staff", "trait": "plan"}, "on": {"where": [], "event": "E"}},
        "journey": "welcome",
    }

    assert in_documented_order("journey", document) == document
    assert lines(WELCOME, document) == [
        *("journey: welcome", "name: Welcome"),
        *("enter:", "'on':", "event: E", "where: []", "if:", "trait: plan", "ne: staff"),
        *("exit:", "- event: Left"),
        *("steps:", "- wait:", "for: 1d", "until: '10:00'", "days:", "- mon"),
        *("- branch:", "- if:", "aggregate: count", "over: Order", "gte: 3", "steps:", "- exit: rich"),
    ]


def test_documents_come_after_those_that_they_need() -> None:
    sends: dict[str, Any] = {"journey": "welcome", "enter": {"on": "api"}, "steps": [{"send": {"template": "hello"}}]}
    starts: dict[str, Any] = {"journey": "aaa", "enter": {"on": "api"}, "steps": [{"start": {"journey": "welcome"}}]}
    layout, first = Name("template", "layout"), Name("journey", "aaa")

    order = in_order({first: starts, WELCOME: sends, HELLO: {"template": "hello"}, layout: {"template": "layout"}})

    assert order == [layout, HELLO, WELCOME, first]


def test_journeys_that_start_each_other_still_have_an_order() -> None:
    one: dict[str, Any] = {"journey": "one", "enter": {"on": "api"}, "steps": [{"start": {"journey": "two"}}]}
    two: dict[str, Any] = {"journey": "two", "enter": {"on": "api"}, "steps": [{"start": {"journey": "one"}}]}

    assert set(in_order({Name("journey", "one"): one, Name("journey", "two"): two})) == {
        Name("journey", "one"),
        Name("journey", "two"),
    }
