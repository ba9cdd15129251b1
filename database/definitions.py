"""Published versions of journeys, read through the process's library of definitions."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from database.documents import live_documents, version_of
from database.session import Database, ReadSession
from domain.errors import NotFound, Unavailable
from domain.journeys.definition import JourneyDefinition
from domain.journeys.flow import Flow
from domain.journeys.library import DefinitionLibrary, Load
from domain.published import UnreadableDocument, read_published

JOURNEY = "journey"
"""The kind of documents that journeys are."""

_PATIENCE = 1.0
"""Seconds that a workflow's thread waits; Temporal takes a thread that is silent for two as deadlocked."""


async def flow_of(session: ReadSession, library: DefinitionLibrary, journey: str, version: int) -> Flow:
    """The flow of a published version; raises NotFound when there is none."""
    kept = library.kept(journey, version)
    if kept is not None:
        return kept
    row = await version_of(session, JOURNEY, journey, version)
    if row is None:
        raise NotFound(f"There is no version {version} of {journey}.", code="version_not_found")
    return library.keep(journey, version, row.document)


async def live_journeys(session: ReadSession, keys: Collection[str] | None = None) -> list[JourneyDefinition]:
    """The definitions of the journeys that are live or paused, those that this release can read; `keys`: of these."""
    found = []
    for each in await live_documents(session, JOURNEY, keys):
        with suppress(UnreadableDocument):  # whoever runs it raises the alarm
            found.append(read_published(JourneyDefinition, each.document))
    return found


def load_from(database: Database, loop: asyncio.AbstractEventLoop) -> Load:
    """How workflow threads read a version that is not in the library yet: through the loop that owns the database."""

    def load(journey: str, version: int) -> Mapping[str, Any] | None:
        reading = asyncio.run_coroutine_threadsafe(_document(database, journey, version), loop)
        try:
            return reading.result(_PATIENCE)
        except (TimeoutError, SQLAlchemyError, OSError):
            reading.cancel()
            raise Unavailable("The database does not answer now.", code="definition_unavailable") from None

    return load


async def _document(database: Database, journey: str, version: int) -> Mapping[str, Any] | None:
    async with database.read() as session:
        row = await version_of(session, JOURNEY, journey, version)
        return None if row is None else row.document
