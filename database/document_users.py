"""Which documents need another one, so that nobody archives it under them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Text, cast, exists, select, text

from database.definitions import JOURNEY
from database.documents import DocumentRow, DocumentVersion, live_documents
from database.published import MODELS, VersionText, readable
from database.runs import Run
from database.session import ReadSession, WriteSession
from database.templates import KIND as TEMPLATE
from domain.document_uses import uses_of_document
from domain.documents import DocumentState
from domain.journeys.definition import JourneyDefinition
from domain.journeys.uses import uses_of
from domain.runs import RunState
from domain.templates import LAYOUT, TemplateDocument, blocks_of, takes_layout


@dataclass(frozen=True, slots=True)
class DocumentUser:
    """A version with the first place in it that needs the document: of a journey the step, else a JSON pointer."""

    kind: str
    key: str
    version: int
    place: str | None

    @property
    def member(self) -> dict[str, Any]:
        """As answers name it: `{"journey": "welcome", "version": 2, "step": "gift"}`."""
        return {self.kind: self.key, "version": self.version, "step" if self.kind == JOURNEY else "pointer": self.place}

    def __str__(self) -> str:
        where = f"version {self.version}, {'step' if self.kind == JOURNEY else 'at'} {self.place}"
        return f"{self.key} ({where})" if self.kind == JOURNEY else f"the {self.kind} {self.key} ({where})"


async def hold_uses(session: WriteSession) -> None:
    """Nobody archives anything until this transaction ends: what it is about to publish may need it.

    Before any document is locked, as in `change_uses`.
    """
    await session.execute(text("SELECT pg_advisory_xact_lock_shared(hashtextextended('document uses', 0))"))


async def change_uses(session: WriteSession) -> None:
    """Nobody publishes or archives anything until this transaction ends: what it is about to archive is needed by
    nobody who publishes at the same time.
    """
    await session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('document uses', 0))"))


async def users_of(session: ReadSession, kind: str, key: str) -> list[DocumentUser]:
    """The documents that use one: live versions, also paused, and of journeys older ones that have active runs.

    The layout is used by whoever sends a template that it frames, a block by whoever sends one that shows it, itself
    or in its layout. What this release cannot read is left out.
    """
    return [*await _journeys(session, kind, key), *await _others(session, kind, key)]


async def _others(session: ReadSession, kind: str, key: str) -> list[DocumentUser]:
    users = []
    for user in ("programme", "challenge", "contest"):
        for live in await live_documents(session, user):
            document = readable(MODELS[user], VersionText(user, live.key, live.version, live.document))
            uses = () if document is None else uses_of_document(document)
            place = next((use.pointer for use in uses if (use.kind, use.key) == (kind, key)), None)
            if place is not None:
                users.append(DocumentUser(user, live.key, live.version, place))
    return users


async def _journeys(session: ReadSession, kind: str, key: str) -> list[DocumentUser]:
    needed = {key}
    if kind == TEMPLATE:
        needed |= await _showing(session, key)
    users = []
    for stored in await _acting(session):
        definition = readable(JourneyDefinition, stored)
        step = definition and _first_step(definition, kind, needed)
        if step:
            users.append(DocumentUser(JOURNEY, stored.key, stored.version, step))
    return users


def _first_step(definition: JourneyDefinition, kind: str, keys: Collection[str]) -> str | None:
    return next((use.step for use in uses_of(definition) if use.kind == kind and use.key in keys), None)


async def _showing(session: ReadSession, key: str) -> set[str]:
    """The published templates that the layout frames, if it is that, or that show a block."""
    templates = {}
    for live in await live_documents(session, TEMPLATE):
        stored = VersionText(TEMPLATE, live.key, live.version, live.document)
        if (template := readable(TemplateDocument, stored)) is not None:
            templates[live.key] = template
    in_all = key == LAYOUT or (LAYOUT in templates and key in blocks_of([templates[LAYOUT]]))
    framed = {each for each, template in templates.items() if in_all and takes_layout(template)}
    return framed | {each for each, template in templates.items() if key in blocks_of([template])}


async def _acting(session: ReadSession) -> list[VersionText]:
    """The versions by which journeys act that are live or paused. By ix_runs_journey."""
    version = DocumentVersion
    has_runs = exists().where(Run.journey == version.key, Run.version == version.version, Run.state == RunState.ACTIVE)
    statement = (
        select(version.key, version.version, cast(version.document, Text))
        .join(DocumentRow, (DocumentRow.kind == version.kind) & (DocumentRow.key == version.key))
        .where(
            version.kind == JOURNEY,
            DocumentRow.state.in_([DocumentState.LIVE, DocumentState.PAUSED]),
            (version.version == DocumentRow.live_version) | has_runs,
        )
        .order_by(version.key, version.version.desc())
    )
    return [VersionText(JOURNEY, *row) for row in await session.execute(statement)]
