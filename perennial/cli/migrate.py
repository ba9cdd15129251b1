"""`perennial migrate`."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from perennial.cli.terminal import console, faults_told, load_settings, run
from perennial.settings import Settings

_PATIENCE_SECONDS = 120.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("migrate")(migrate)


def migrate(
    temporal: Annotated[bool, typer.Option(help="Also register our search attributes with Temporal.")] = True,
) -> None:
    """Bring the database to this version's schema and register our search attributes with Temporal.

    Safe to repeat, and safe to run from several machines at once: they take turns. Run it before the new version's
    processes start; the old version keeps working on the new schema, and starts on it again after a roll-back.

    [dim]Examples:[/dim]
      perennial migrate
      perennial migrate --no-temporal      [dim]# the database only[/dim]
    """
    from database.migrations.upgrade import newest_revision, upgrade

    settings = load_settings()
    with faults_told():
        revision = upgrade(settings.database_url.get_secret_value())
    console.print(f"The database is at revision {revision}.")
    if revision != newest_revision():
        console.print(f"That is a newer release's; this one knows {newest_revision()} and runs on it. Nothing to do.")
    if temporal:
        run(_register(settings))
        console.print(f"Temporal's namespace {settings.temporal_namespace} knows our search attributes.")


async def _register(settings: Settings) -> None:
    from domain.errors import Unavailable
    from perennial.temporal import connect, register_search_attributes, until_answered

    address = settings.temporal_address
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            client = await until_answered(lambda: connect(address, settings.temporal_namespace), "connection")
            await until_answered(lambda: register_search_attributes(client), "search attributes")
    except TimeoutError:
        sentence = f"Temporal at {address} did not answer within {_PATIENCE_SECONDS:.0f} s; run the command again."
        raise Unavailable(sentence) from None
