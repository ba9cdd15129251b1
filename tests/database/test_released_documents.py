"""Whatever a release published is read by every later one: `tests/documents` keeps documents of each release."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from database.published import MODELS
from domain.document import Document
from domain.journeys.definition import JourneyDefinition
from domain.published import UnreadableDocument, read_published, unknown_members

RELEASED = sorted((Path(__file__).parents[1] / "documents").glob("*/*.json"))
JOURNEY: dict[str, Any] = {
    "journey": "welcome",
    "purpose": "marketing",
    "enter": {"on": {"event": "Signed Up"}},
    "steps": [{"id": "hello", "send": {"template": "hello"}}],
}


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_document_of_a_release_is_read_whole(path: Path) -> None:
    document = json.loads(path.read_text())
    model = _model(path)

    assert read_published(model, document).model_dump(mode="json", exclude_unset=True, by_alias=True)
    assert unknown_members(model, document) == []


def test_every_kind_of_document_is_among_those_that_were_released() -> None:
    assert {path.stem.split("-")[0] for path in RELEASED} == set(MODELS)


def test_what_a_newer_release_added_is_passed_over_and_named() -> None:
    newer = JOURNEY | {"audience": {"seen_at": "noon"}}
    newer["steps"] = [{"id": "hello", "send": {"template": "hello", "priority": 3}}]

    assert read_published(JourneyDefinition, newer) == read_published(JourneyDefinition, JOURNEY)
    assert unknown_members(JourneyDefinition, newer) == ["/steps/0/send/priority", "/audience"]


def test_form_that_only_a_newer_release_knows_is_refused_with_its_place_and_a_way_out() -> None:
    newer = JOURNEY | {"steps": [{"id": "hello", "teleport": {}}]}

    with pytest.raises(UnreadableDocument, match=r"cannot read /steps/0: .* Update this process") as refused:
        read_published(JourneyDefinition, newer)
    assert (refused.value.status, refused.value.code) == (503, "document_unreadable")


def _model(path: Path) -> type[Document]:
    return MODELS[path.stem.split("-")[0]]
