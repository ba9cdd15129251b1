"""`perennial api`, `perennial router`, `perennial worker`: the processes of a deployment."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Annotated, Any

import typer

from perennial.cli.terminal import faults_told, load_settings
from perennial.loading import loading
from perennial.queues import Queue
from perennial.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("api")(api)
    app.command("router")(router)
    app.command("worker")(worker)


def api() -> None:
    """Serve the HTTP API: events in, documents, customers, links in mails. Needs PostgreSQL only.

    Run as many as you like behind a load balancer. It keeps taking events while Temporal is away.

    [dim]Example:[/dim]
      PERENNIAL_HOST=0.0.0.0 PERENNIAL_API_PORT=8080 perennial api
    """
    settings = _begin("api")
    with loading():
        from perennial.processes import run_api
    _run(run_api(settings))


def router() -> None:
    """Route events to customers, journeys and waits, and relay what follows to Temporal. Needs PostgreSQL and Temporal.

    Run as many as you like: each customer is in the hands of one of them at a time. Routing goes on while Temporal
    is away; what it is to be told waits in the database.

    [dim]Example:[/dim]
      perennial router
    """
    settings = _begin("router")
    with loading():
        from perennial.processes import run_router
    _run(run_router(settings))


def worker(
    queue: Annotated[
        list[Queue] | None, typer.Option(help="A task queue to serve; repeat for several, leave out for all.")
    ] = None,
) -> None:
    """Serve Temporal's task queues: journeys decide and wait, messages are sent. Needs PostgreSQL and Temporal.

    One process uses one core; run as many as you like. In production give each queue processes of its own, so that a
    slow provider never keeps journeys waiting.

    [dim]Examples:[/dim]
      perennial worker
      perennial worker --queue journeys
      perennial worker --queue messages
    """
    settings = _begin("worker")
    with loading():
        from perennial.processes import run_worker
    _run(run_worker(settings, queue or list(Queue)))


def _begin(process: str) -> Settings:
    from perennial.logging import configure

    settings = load_settings()
    configure(settings.log_level, settings.log_format, process=process)
    return settings


def _run(process: Coroutine[Any, Any, None]) -> None:
    import uvloop

    with faults_told():
        uvloop.run(process)
