"""Documents as files: what is written reads back as the same document, and differences are shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Malformed
from domain.yaml import read_yaml
from perennial.document_files import difference, read_folder, write_document, write_yaml

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


def test_folder_gives_its_documents_by_key(tmp_path: Path) -> None:
    write_document(tmp_path, "welcome", {"journey": "welcome", "steps": []})

    assert read_folder(tmp_path, "journey") == {"welcome": {"journey": "welcome", "steps": []}}


def test_file_that_is_no_document_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.yaml").write_text("just words")

    with pytest.raises(Malformed, match=r"notes\.yaml: a journey document begins with `journey: <key>`"):
        read_folder(tmp_path, "journey")


def test_difference_is_shown_line_by_line() -> None:
    there, here = {"journey": "welcome", "name": "Hello"}, {"journey": "welcome", "name": "Hi"}

    assert "-name: Hello\n+name: Hi" in difference("welcome", there, here)
    assert difference("welcome", here, here) == ""
