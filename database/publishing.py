"""What publishing a journey reads of the runs in flight. What it does to them: database/run_changes.py."""

from __future__ import annotations

from sqlalchemy import exists, func, select

from database.definitions import JOURNEY
from database.documents import DocumentRow, DocumentVersion
from database.runs import Run
from database.session import ReadSession
from domain.journeys.definition import JourneyDefinition
from domain.journeys.plan import Standing
from domain.published import read_published
from domain.runs import RunState


async def standing(session: ReadSession, journey: str) -> list[Standing]:
    """How many active runs there are at each step, the most first. By ix_runs_journey."""
    count = func.count()
    statement = (
        select(Run.step, count)
        .where(Run.journey == journey, Run.state == RunState.ACTIVE)
        .group_by(Run.step)
        .order_by(count.desc(), Run.step)
    )
    return [Standing(step, runs) for step, runs in await session.execute(statement)]


async def acting_versions(session: ReadSession, journey: str) -> list[JourneyDefinition]:
    """The versions by which the journey acts: the live one, and those of active runs. By ix_runs_journey.

    Raises UnreadableDocument where this release cannot read one of them.
    """
    version = DocumentVersion
    has_runs = exists().where(Run.journey == journey, Run.version == version.version, Run.state == RunState.ACTIVE)
    live = select(DocumentRow.live_version).where(DocumentRow.kind == JOURNEY, DocumentRow.key == journey)
    statement = (
        select(version.document)
        .where(version.kind == JOURNEY, version.key == journey, has_runs | (version.version == live.scalar_subquery()))
        .order_by(version.version.desc())
    )
    return [read_published(JourneyDefinition, each) for each in (await session.execute(statement)).scalars()]
