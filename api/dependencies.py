"""What the routes are given: one frozen value per application, and one session per request.

`perennial/composition.py` makes the value; `create_app` keeps it. A router that needs a further collaborator adds a
field here, with a default where development has a sensible one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request
from prometheus_client import generate_latest

from activities.trial_messages import TrialSender
from api.limits import CodeLimits, IngestLimits, Rate
from api.temporal_ui import TemporalUi
from connectors.rendering import Renderer
from database.session import Database, ReadSession, WriteSession
from triggers.live import LiveCache


def system_clock() -> datetime:
    """Now, aware UTC. The API is an edge: it reads the clock and passes `as_of` on."""
    return datetime.now(UTC)


async def own_figures() -> bytes:
    """The figures of this process in Prometheus' text format, without those of Temporal's SDK."""
    return generate_latest()


@dataclass(frozen=True, slots=True)
class ApiDependencies:
    """Everything an API process works with.

    /readyz asks `temporal_answers` if there is one; /metrics gives `figures`. `analytics_js_dir` holds dist/umd of
    @segment/analytics-next if this host serves the SDK itself.
    """

    database: Database
    ingest_database: Database | None = None  # what takes events in has connections of its own; else the same
    now: Callable[[], datetime] = system_clock
    ingest: IngestLimits = field(default_factory=IngestLimits)
    rate: Rate = field(default_factory=Rate)
    code_limits: CodeLimits = field(default_factory=CodeLimits)
    max_body_bytes: int = 2_000_000
    analytics_js_dir: Path | None = None
    temporal_answers: Callable[[], Awaitable[bool]] | None = None
    temporal_ui: TemporalUi = field(default_factory=TemporalUi)
    figures: Callable[[], Awaitable[bytes]] = own_figures
    truncate_ip: bool = False  # clients' IP addresses are stored as their networks only
    allow_private_calls: bool = False  # whether journeys may call private addresses: for local shops and tests
    renderer: Renderer = field(default_factory=Renderer)  # starts its processes when it is first used
    trials: TrialSender | None = None  # sends tests of templates
    sendgrid_webhook_key: str | None = None  # public key of the signed event webhook, base64
    meta_app_secret: str | None = None  # Meta signs its webhooks with it
    meta_verify_token: str | None = None  # by which Meta asks whether an address is ours
    public_url: str = "http://127.0.0.1:8080"  # how customers' browsers reach this API
    live: LiveCache = field(default_factory=LiveCache)  # what is published, kept from one request to the next
    is_inbox_open: bool = False  # /inbox without a key: for development, where nothing leaves the machine

    @property
    def intake(self) -> Database:
        """The connections of what takes events in."""
        return self.ingest_database or self.database


def get_dependencies(request: Request) -> ApiDependencies:
    """The application's dependencies."""
    dependencies: ApiDependencies = request.app.state.dependencies
    return dependencies


def get_as_of(request: Request) -> datetime:
    """The time of this request: the same however often it is asked."""
    if not hasattr(request.state, "as_of"):
        request.state.as_of = get_dependencies(request).now()
    as_of: datetime = request.state.as_of
    return as_of


async def _reading(request: Request) -> AsyncIterator[ReadSession]:
    async with get_dependencies(request).database.read() as session:
        yield session


def _writing(request: Request) -> WriteSession:
    session: WriteSession = request.state.write_session  # api/routing.py opened it and will commit it
    return session


Dependencies = Annotated[ApiDependencies, Depends(get_dependencies)]
AsOf = Annotated[datetime, Depends(get_as_of)]
Reading = Annotated[ReadSession, Depends(_reading, scope="function")]
Writing = Annotated[WriteSession, Depends(_writing)]
