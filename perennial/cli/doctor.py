"""`perennial doctor`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from perennial.cli.terminal import console, errors, load_settings, run
from perennial.settings import Settings

if TYPE_CHECKING:
    from perennial.doctor import Verdict


NOT_LOOKED_AT = 3
"""Exit code: no promise was found broken, and not all could be looked at."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor() -> None:
    """Check the guarantees on live data: nothing stored twice, nothing sent twice, no cap passed, nothing lost.

    It asks Temporal too whether everything that should be under way is. Reads only, so it is safe in production; on a
    big database it takes minutes. Ends with 1 if a promise is broken, naming a few offenders of each, and with 3 if
    none was found broken but some could not be looked at, as while Temporal is away. A `!` is something to look at that
    breaks no promise.

    [dim]Example:[/dim]
      perennial doctor
    """
    verdicts = run(_examine(load_settings()))
    for verdict in verdicts:
        console.print(f"{_mark(verdict)} {verdict.guarantee:<10} {verdict.promise}", highlight=False)
        if verdict.skipped:
            console.print(f"             not looked at: {verdict.skipped}", markup=False, highlight=False)
        for offender in verdict.offenders:
            console.print(f"             {offender}", markup=False, highlight=False)
    if not all(verdict.is_kept for verdict in verdicts):
        raise typer.Exit(1)
    if any(verdict.skipped for verdict in verdicts):
        errors.print("Not everything could be looked at: run it again when it can be.", style="yellow", highlight=False)
        raise typer.Exit(NOT_LOOKED_AT)


def _mark(verdict: Verdict) -> str:
    if verdict.skipped:
        return "[yellow]–[/yellow]"
    if verdict.is_notice and verdict.offenders:
        return "[yellow]![/yellow]"
    return "[green]✓[/green]" if verdict.is_kept else "[red]✗[/red]"


async def _examine(settings: Settings) -> list[Verdict]:
    from perennial.composition import open_database
    from perennial.doctor import examine
    from perennial.doctor_restore import examine_journal
    from perennial.doctor_temporal import examine_temporal
    from perennial.temporal import connect

    async with open_database(settings, "doctor") as database:
        as_of = datetime.now(UTC)
        verdicts = await examine(
            database, as_of, provider=settings.email_provider, email_per_second=settings.email_per_second
        )
        if any(verdict.guarantee == "schema" for verdict in verdicts):
            return verdicts
        client = await connect(settings.temporal_address, settings.temporal_namespace, lazy=True)
        verdicts += await examine_journal(database, settings.journal_dir, as_of)
        return [*verdicts, *await examine_temporal(database, client, as_of)]
