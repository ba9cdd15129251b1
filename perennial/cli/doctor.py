"""`perennial doctor`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from perennial.cli.terminal import console, load_settings, run
from perennial.settings import Settings

if TYPE_CHECKING:
    from perennial.doctor import Verdict


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor() -> None:
    """Check the guarantees on live data: nothing stored twice, nothing sent twice, no cap passed, nothing lost.

    Reads only, so it is safe in production; on a big database it takes minutes. Ends with 1 if a promise is broken,
    naming a few offenders of each.

    [dim]Example:[/dim]
      perennial doctor
    """
    verdicts = run(_examine(load_settings()))
    for verdict in verdicts:
        mark = "[green]✓[/green]" if verdict.is_kept else "[red]✗[/red]"
        console.print(f"{mark} {verdict.guarantee:<10} {verdict.promise}", highlight=False)
        for offender in verdict.offenders:
            console.print(f"             {offender}", markup=False, highlight=False)
    if not all(verdict.is_kept for verdict in verdicts):
        raise typer.Exit(1)


async def _examine(settings: Settings) -> list[Verdict]:
    from perennial.composition import open_database
    from perennial.doctor import examine

    async with open_database(settings, "doctor") as database:
        return await examine(
            database,
            datetime.now(UTC),
            provider=settings.email_provider,
            email_per_second=settings.email_per_second,
        )
