"""Which journeys need a document, so that nobody archives it under them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Text, cast, exists, select

from database.definitions import JOURNEY
from database.documents import DocumentRow, DocumentVersion, live_documents
from database.published import VersionText, readable
from database.runs import Run
from database.session import ReadSession
from database.templates import KIND as TEMPLATE
from domain.documents import DocumentState
from domain.journeys.definition import JourneyDefinition
from domain.journeys.uses import uses_of
from domain.runs import RunState
from domain.templates import LAYOUT, TemplateDocument, blocks_of, takes_layout


@dataclass(frozen=True, slots=True)
class DocumentUser:
    """A version of a journey with the first step of it that needs the document."""

    journey: str
    version: int
    step: str | None


async def users_of(session: ReadSession, kind: str, key: str) -> list[DocumentUser]:
    """The journeys that use a document: their live version (also paused), and older ones that have active runs.

    The layout is used by whoever sends a template that it frames, a block by whoever sends one that shows it, itself
    or in its layout. What this release cannot read is left out.
    """
    needed = {key}
    if kind == TEMPLATE:
        needed |= await _showing(session, key)
    users = []
    for stored in await _acting(session):
        definition = readable(JourneyDefinition, stored)
        step = definition and _first_step(definition, kind, needed)
        if step:
            users.append(DocumentUser(stored.key, stored.version, step))
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
