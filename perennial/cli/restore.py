"""`perennial restore`: what belongs after a restore of the database."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from perennial.cli.terminal import console, errors, load_settings, run

if TYPE_CHECKING:
    from triggers.restoring import Replayed

_app = typer.Typer(help="What belongs after a restore of the database from a backup.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(_app, name="restore")


@_app.command("replay")
def replay(
    folder: Annotated[
        Path | None, typer.Argument(help="The journal's folder; PERENNIAL_JOURNAL_DIR if left out.", file_okay=False)
    ] = None,
) -> None:
    """Do again what people asked for after the backup: erasures, withdrawals of consent, complaints, suppressions.

    Run it on the restored, migrated database before any other process. It may be repeated: what the database has is
    left alone. Routers and workers with PERENNIAL_JOURNAL_DIR do the same before they begin.

    [dim]Examples:[/dim]
      perennial restore replay
      perennial restore replay /mnt/journal
    """
    chosen = folder or load_settings().journal_dir
    if chosen is None or not chosen.is_dir():
        errors.print(f"There is no folder {chosen or ''}: name it, or set PERENNIAL_JOURNAL_DIR.", highlight=False)
        raise typer.Exit(2)
    done = run(_replay(chosen))
    console.print(
        f"Done again: {done.erasures} erasures, {done.withdrawals} withdrawals, {done.suppressions} suppressions, "
        f"{done.releases} releases, {done.restrictions} restrictions.",
        highlight=False,
    )
    if done.awaited:
        console.print(
            f"{done.awaited} withdrawals and restrictions concern customers unknown to this database: each takes "
            "effect as soon as one of the customer's ids appears.",
            highlight=False,
        )
    if done.lost:
        console.print(f"{done.lost} withdrawals and restrictions are lost: the journal does not say whose they were.")
    for line in done.unreadable:
        errors.print(f"Not readable: {line}", markup=False, highlight=False)


async def _replay(folder: Path) -> Replayed:
    from connectors.journal_folder import JournalFolder
    from perennial.composition import open_database
    from triggers.restoring import replay as do_again

    async with open_database(load_settings(), "restore") as database:
        with Progress(console=console) as shown:
            task = shown.add_task("Reading the journal", total=None)

            def progress(done: int, total: int) -> None:
                shown.update(task, completed=done, total=total, description="Doing again")

            return await do_again(database, JournalFolder(folder), datetime.now(UTC), progress)
