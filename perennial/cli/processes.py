"""`perennial api`, `perennial router`, `perennial worker`: the processes of a deployment."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import typer
import uvloop

from perennial.cli.terminal import faults_told, load_settings
from perennial.logging import configure
from perennial.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("api")(api)


def api() -> None:
    """Serve the HTTP API: events in, documents, customers, links in mails. Needs PostgreSQL only.

    Run as many as you like behind a load balancer. It keeps taking events while Temporal is away.

    [dim]Example:[/dim]
      PERENNIAL_HOST=0.0.0.0 PERENNIAL_API_PORT=8080 perennial api
    """
    from perennial.processes import run_api

    settings = _begin("api")
    _run(run_api(settings))


def _begin(process: str) -> Settings:
    settings = load_settings()
    configure(settings.log_level, settings.log_format, process=process)
    return settings


def _run(process: Coroutine[Any, Any, None]) -> None:
    with faults_told():
        uvloop.run(process)
