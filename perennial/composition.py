"""The composition root: the only place that constructs things and hands them what they use (workers: workers.py).

Each builder imports what it builds, so that no process carries and loads the parts of another.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr
from temporalio.client import Client
from temporalio.runtime import Runtime
from temporalio.service import RPCError

from database.incarnations import Admission
from database.pools import COMMAND, Pool
from database.session import Database
from perennial import temporal
from perennial.loopback import LOOPBACK, any_free_port
from perennial.metrics import Metrics, build_runtime
from perennial.settings import EmailProvider, Settings

if TYPE_CHECKING:
    from fastapi import FastAPI


@asynccontextmanager
async def open_database(
    settings: Settings, process: str, pool: Pool = COMMAND, admission: Admission | None = None
) -> AsyncIterator[Database]:
    """The database of this deployment, its connections named after the process and given back at the end."""
    database = Database(
        settings.database_url.get_secret_value(),
        pool=pool,
        pool_size=settings.database_pool_size,
        application_name=f"perennial {process}",
        admission=admission,
    )
    try:
        yield database
    finally:
        await database.close()


@dataclass(frozen=True, slots=True)
class TemporalLink:
    """How a process reaches Temporal, and its metrics with those of the SDK."""

    address: str
    namespace: str
    runtime: Runtime
    metrics: Metrics

    async def lazy_client(self) -> Client:
        """A client that connects at its first call, for processes that do their work while Temporal is away."""
        return await temporal.connect(self.address, self.namespace, runtime=self.runtime, lazy=True)

    async def client(self) -> Client:
        """A connected client; raises RuntimeError while Temporal is away."""
        return await temporal.connect(self.address, self.namespace, runtime=self.runtime)


def link_temporal(settings: Settings) -> TemporalLink:
    """The link of this deployment. Call it once in a process: the SDK's runtime listens on a port for its metrics."""
    port = any_free_port()
    metrics = Metrics(f"{LOOPBACK}:{port}")
    return TemporalLink(settings.temporal_address, settings.temporal_namespace, build_runtime(port), metrics)


Loop = Callable[[asyncio.Event], Coroutine[Any, Any, None]]
"""Runs until the event is set."""


def build_router_loops(settings: Settings, database: Database, client: Client) -> Sequence[Loop]:
    """What a router process does, side by side."""
    from triggers.ageing import Keeper
    from triggers.live import LiveCache
    from triggers.reconciler import Reconciler
    from triggers.relay import Relay
    from triggers.router import Router
    from triggers.routing import Routing
    from triggers.run_changes import RunChanges

    reconciler = Reconciler(database, client, prepare=temporal.register_search_attributes)
    router, relay = Router(database, Routing(LiveCache())), Relay(database, client)
    loops = [router.run, relay.run, reconciler.run, RunChanges(database).run, Keeper(database).run]
    if settings.journal_dir is not None:
        from connectors.journal_folder import JournalFolder
        from triggers.journal_keeping import JournalKeeper

        loops.append(JournalKeeper(database, JournalFolder(settings.journal_dir)).run)
    return loops


async def build_api(settings: Settings, database: Database, closing: AsyncExitStack) -> FastAPI:
    """The HTTP API. Temporal is asked only whether it answers: events are taken while it is away.

    `closing` ends what it holds open besides the database.
    """
    ingest_database = await closing.enter_async_context(open_database(settings, "ingest", settings.ingest_pool))
    from activities.pacing import Pacer
    from activities.trial_messages import TrialSender
    from api.app import create_app
    from api.dependencies import ApiDependencies
    from api.limits import CodeLimits, IngestLimits, Rate
    from api.temporal_ui import TemporalUi
    from connectors.rendering import Renderer
    from perennial.email import email_provider

    link = link_temporal(settings)
    client = await link.lazy_client()

    async def temporal_answers() -> bool:
        try:
            return await client.service_client.check_health()
        except (RPCError, RuntimeError):  # RuntimeError: the lazy client could not connect
            return False

    renderer, provider = Renderer(), email_provider(settings, closing)
    closing.push_async_callback(renderer.close)
    pacer = Pacer(database, {provider.name: settings.email_per_second})
    return create_app(
        ApiDependencies(
            database=database,
            ingest_database=ingest_database,
            ingest=IngestLimits(settings.ingest_event_bytes, settings.ingest_body_bytes),
            rate=Rate(settings.requests_per_second, burst=4 * settings.requests_per_second),
            code_limits=CodeLimits(settings.coupon_codes_per_minute, settings.customer_coupon_codes_per_minute),
            analytics_js_dir=settings.analytics_js_dir,
            temporal_answers=temporal_answers,
            temporal_ui=TemporalUi(settings.temporal_ui_url, settings.temporal_namespace),
            figures=link.metrics.text,
            allow_private_calls=settings.allow_private_calls,
            renderer=renderer,
            trials=TrialSender(database, renderer, provider, pacer, public_url=settings.public_url.rstrip("/")),
            public_url=settings.public_url.rstrip("/"),
            truncate_ip=settings.truncate_ip,
            meta_app_secret=_plain(settings.meta_app_secret),
            meta_verify_token=_plain(settings.meta_verify_token),
            sendgrid_webhook_key=settings.sendgrid_webhook_key,
            is_inbox_open=settings.email_provider is EmailProvider.OUTBOX and settings.host == LOOPBACK,
        )
    )


def _plain(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
