"""`perennial quarantine`: events that could not be routed, with their errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer
from rich.table import Table

from perennial.cli.terminal import console, load_settings, run

if TYPE_CHECKING:
    from database.routing import QuarantinedEvent

_quarantine = typer.Typer(
    help="Events that failed again and again: see why, and route them again once the cause is mended.",
    rich_markup_mode="rich",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(_quarantine, name="quarantine")


@_quarantine.command("list")
def list_events(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most this many, the oldest first.")] = 100,
) -> None:
    """Show the events in quarantine with the error of their last try.

    [dim]Example:[/dim]
      perennial quarantine list --limit 20
    """
    table = Table("id", "received", "source", "event", "tries", "error")
    table.columns[0].no_wrap = True  # ids are for copying
    for event in run(_list(limit)):
        received = event.received_at.strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(str(event.id), received, event.source, event.name, str(event.attempts), event.error or "")
    console.print(table if table.row_count else "No event is in quarantine.")


@_quarantine.command("retry")
def retry(
    ids: Annotated[list[UUID] | None, typer.Argument(help="Their ids; all of them if none is given.")] = None,
) -> None:
    """Route events in quarantine again; one that fails again comes back.

    [dim]Examples:[/dim]
      perennial quarantine retry
      perennial quarantine retry 01930a8e-7c1c-7b6e-b4a4-0d6f3a2b9c11
    """
    count = run(_retry(ids))
    console.print(f"{count} {'event is' if count == 1 else 'events are'} on the way again.")


async def _list(limit: int) -> Sequence[QuarantinedEvent]:
    from database.routing import quarantined
    from perennial.composition import open_database

    async with open_database(load_settings(), "quarantine") as database, database.read() as session:
        return await quarantined(session, limit=limit)


async def _retry(ids: Sequence[UUID] | None) -> int:
    from database.routing import retry_quarantined
    from perennial.composition import open_database

    async with open_database(load_settings(), "quarantine") as database, database.transaction() as session:
        return await retry_quarantined(session, ids or None)
