"""The life of a document that marketers edit: its states, the changes between them, and the tag of its draft."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, assert_never

from domain.errors import Conflict
from domain.keys import StoredKey

DOCUMENT_KEY = r"^[a-z][a-z0-9-]{1,62}$"


class DocumentState(StrEnum):
    """A draft has no version yet; live, paused and archived ones have at least one."""

    DRAFT = "draft"
    LIVE = "live"
    PAUSED = "paused"
    ARCHIVED = "archived"


class Change(StrEnum):
    """What can be done to a document besides saving and publishing it."""

    PAUSE = "pause"
    RESUME = "resume"
    ARCHIVE = "archive"


@dataclass(frozen=True, slots=True)
class RunsReached:
    """How many runs a decision left, moved, ended or woke at once, and for how many it is still being carried out."""

    stay: int = 0
    moved: int = 0
    finished: int = 0
    woken: int = 0
    under_way: int = 0


@dataclass(frozen=True, slots=True)
class Publication:
    """A checked draft about to become version `version` at the wish of a key, beside the version that is live now."""

    key: str
    version: int
    document: Mapping[str, Any]  # the draft as it was written
    live_version: int | None
    live_document: Mapping[str, Any] | None
    by: StoredKey


@dataclass(frozen=True, slots=True)
class Published:
    """The document to keep as the new version (a journey gets its steps' ids written out), and what became of runs."""

    document: Mapping[str, Any]
    runs: RunsReached | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """A dry run: nothing was published, and this is what publishing would do."""

    plan: Mapping[str, Any]


def state_after(change: Change, state: DocumentState) -> DocumentState:
    """The state after `change`; one that is already true changes nothing. Raises Conflict where it makes no sense."""
    match change:
        case Change.PAUSE:
            return _only_from(state, DocumentState.LIVE, DocumentState.PAUSED)
        case Change.RESUME:
            return _only_from(state, DocumentState.PAUSED, DocumentState.LIVE)
        case Change.ARCHIVE:
            return DocumentState.ARCHIVED
    assert_never(change)


def state_after_publishing(state: DocumentState) -> DocumentState:
    """A paused document stays paused, so that a faulty one can be mended before it goes on; any other goes live."""
    return DocumentState.PAUSED if state is DocumentState.PAUSED else DocumentState.LIVE


def tag_of(draft: Mapping[str, Any], state: DocumentState, live_version: int | None) -> str:
    """The ETag's text: changes whenever the draft, the state or the live version does."""
    text = json.dumps([draft, state, live_version], sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _only_from(state: DocumentState, start: DocumentState, end: DocumentState) -> DocumentState:
    if state not in (start, end):
        raise Conflict(f"The document is {state}, so it cannot become {end}.", code=f"not_{start}")
    return end
