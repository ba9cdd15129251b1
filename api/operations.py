"""What operators and their machines ask: is the process alive, is it ready, what are its figures."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from api.dependencies import ApiDependencies, Dependencies
from database.migrations.upgrade import current_revision, newest_revision, serves
from database.outages import FULL, sqlstate_of
from database.readiness import check_writable
from domain.errors import Unavailable

router = APIRouter(tags=["operations"])

_PATIENCE = 2.0  # seconds; a load balancer asks again anyway


class Readiness(BaseModel):
    """`ready` is what counts: events can be taken. Ingest works while Temporal is away, so Temporal is only named.

    `schema_revision`: "ok", "none", or the revision of another release: a newer one is no reason not to be ready.
    """

    ready: bool
    database: str
    schema_revision: str
    temporal: str


@router.get("/livez", summary="The process runs")
async def livez() -> dict[str, str]:
    """Answers as long as the event loop turns; asks nothing else, so that a slow database restarts nobody."""
    return {"status": "ok"}


@router.get("/readyz", summary="The process can take requests", responses={503: {"model": Readiness}})
async def readyz(dependencies: Dependencies, response: Response) -> Readiness:
    """200 when the database answers, can be written to and has a schema that this code runs on, else 503.

    `busy`: it answers, and every connection for events is in use. That is as ready as it can be: calls say 503 where
    they wait too long, and other processes would wait for the same.
    """
    is_answering, revision = await _revision(dependencies)
    is_migrated = serves(revision)
    database = await _writable(dependencies) if is_answering else "unreachable"
    is_ready = is_migrated and database in ("ok", "busy")
    response.status_code = 200 if is_ready else 503
    return Readiness(
        ready=is_ready,
        database=database,
        schema_revision=_told(revision) if is_answering else "unknown",
        temporal=await _temporal(dependencies),
    )


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def metrics(dependencies: Dependencies) -> Response:
    """Figures of this process in Prometheus' text format."""
    return Response(await dependencies.figures(), media_type=CONTENT_TYPE_LATEST)


async def _revision(dependencies: ApiDependencies) -> tuple[bool, str | None]:
    """Whether the database answers, and the schema it stands at; None before its first migration."""
    try:
        async with asyncio.timeout(_PATIENCE), dependencies.database.read() as session:
            return True, await current_revision(session)
    except (SQLAlchemyError, OSError, TimeoutError):
        return False, None


def _told(revision: str | None) -> str:
    """ "ok", the revision of a schema that is newer or older than ours, or "none"."""
    return "ok" if revision == newest_revision() else revision or "none"


async def _writable(dependencies: ApiDependencies) -> str:
    """ "ok", "busy", "read_only", "full" or "unreachable"."""
    try:
        async with asyncio.timeout(_PATIENCE):
            await check_writable(dependencies.database)
        if dependencies.intake is not dependencies.database:
            return await _intake_writable(dependencies)
    except Unavailable:
        return "read_only"
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        return "full" if sqlstate_of(error) == FULL else "unreachable"
    return "ok"


async def _intake_writable(dependencies: ApiDependencies) -> str:
    """The database was writable a moment ago: that the pool of events has no connection free says that it is busy."""
    try:
        async with asyncio.timeout(_PATIENCE):
            await check_writable(dependencies.intake)
    except (PoolTimeoutError, TimeoutError):
        return "busy"
    return "ok"


async def _temporal(dependencies: ApiDependencies) -> str:
    if dependencies.temporal_answers is None:
        return "not asked"
    try:
        async with asyncio.timeout(_PATIENCE):
            return "ok" if await dependencies.temporal_answers() else "unreachable"
    except TimeoutError:
        return "unreachable"
