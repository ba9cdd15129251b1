"""`perennial migrate`."""

from __future__ import annotations

from typing import Annotated

import typer

from perennial.cli.terminal import console, faults_told, load_settings, run
from perennial.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("migrate")(migrate)


def migrate(
    temporal: Annotated[bool, typer.Option(help="Also register our search attributes with Temporal.")] = True,
) -> None:
    """Bring the database to this version's schema and register our search attributes with Temporal.

    Safe to repeat, and safe to run from several machines at once: they take turns. Run it before the new version's
    processes start; the old version keeps working on the new schema.

    [dim]Examples:[/dim]
      perennial migrate
      perennial migrate --no-temporal      [dim]# the database only[/dim]
    """
    from database.migrations.upgrade import newest_revision, upgrade

    settings = load_settings()
    with faults_told():
        upgrade(settings.database_url.get_secret_value())
    console.print(f"The database is at revision {newest_revision()}.")
    if temporal:
        run(_register(settings))
        console.print(f"Temporal's namespace {settings.temporal_namespace} knows our search attributes.")


async def _register(settings: Settings) -> None:
    from perennial.temporal import connect, register_search_attributes

    await register_search_attributes(await connect(settings.temporal_address, settings.temporal_namespace))
