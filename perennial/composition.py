"""The composition root: the only place that constructs things and hands them what they use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from temporalio.client import Client
from temporalio.service import RPCError

from api.app import create_app
from api.dependencies import ApiDependencies
from database.session import Database
from perennial import temporal
from perennial.loopback import LOOPBACK, any_free_port
from perennial.metrics import Metrics, build_runtime
from perennial.settings import Settings
from workflows.erasure import ErasureWorkflow
from workflows.journey import JourneyWorkflow

WORKFLOWS = (JourneyWorkflow, ErasureWorkflow)


@asynccontextmanager
async def open_database(settings: Settings, process: str) -> AsyncIterator[Database]:
    """The database of this deployment, its connections named after the process and given back at the end."""
    database = Database(
        settings.database_url.get_secret_value(),
        pool_size=settings.database_pool_size,
        application_name=f"perennial {process}",
    )
    try:
        yield database
    finally:
        await database.close()


async def connect_temporal(settings: Settings) -> tuple[Client, Metrics]:
    """A client that connects at its first call, and the metrics of this process with those of its SDK."""
    port = any_free_port()
    runtime = build_runtime(port)
    client = await temporal.connect(settings.temporal_address, settings.temporal_namespace, runtime=runtime, lazy=True)
    return client, Metrics(f"{LOOPBACK}:{port}")


async def build_api(settings: Settings, database: Database) -> FastAPI:
    """The HTTP API. Temporal is asked only whether it answers: events are taken while it is away."""
    client, metrics = await connect_temporal(settings)

    async def temporal_answers() -> bool:
        try:
            return await client.service_client.check_health()
        except (RPCError, RuntimeError):  # RuntimeError: the lazy client could not connect
            return False

    return create_app(ApiDependencies(database=database, temporal_answers=temporal_answers, figures=metrics.text))
