"""`perennial suppressions`: addresses that get no mail."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO
from uuid import UUID

import typer
from rich.table import Table

from domain.imports import Encoding, RowError
from domain.suppression_files import IMPORTED
from domain.suppressions import Cause
from perennial.cli.terminal import console, errors, load_settings, run

if TYPE_CHECKING:
    from database.messages import Suppression
    from triggers.importing import ImportReport

ACTOR = "cli"
_app = typer.Typer(help="Addresses that get no mail, of customers or of anybody.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(_app, name="suppressions")


@_app.command("list")
def list_(
    address: Annotated[str | None, typer.Option(help="Of this mail address only.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most this many, the latest first.")] = 100,
) -> None:
    """Show the suppressions in force.

    [dim]Example:[/dim]
      perennial suppressions list --address ann@example.com
    """
    table = Table("id", "address", "reason", "since", "until", "by")
    table.columns[0].no_wrap = True  # ids are for copying
    for row in run(_list(address, limit)):
        until = f"{row.until:%Y-%m-%d}" if row.until else ""
        table.add_row(
            str(row.id), row.address or "(hash)", row.reason, f"{row.at:%Y-%m-%d}", until, row.actor or "the program"
        )
    console.print(table if table.row_count else "No suppression is in force.")


@_app.command("add")
def add(
    address: Annotated[str, typer.Argument(help="A mail address.")],
    reason: Annotated[Cause, typer.Option(help="Its class; objection covers marketing only.")] = Cause.OBJECTION,
    note: Annotated[str | None, typer.Option(help="Why, for people.")] = None,
) -> None:
    """Send nothing, or no marketing, to an address any more.

    [dim]Example:[/dim]
      perennial suppressions add ann@example.com --note "wrote us a letter"
    """
    if reason not in IMPORTED:
        errors.print(f"A suppression of the class {reason} comes of an erasure alone.")
        raise typer.Exit(2)
    console.print(f"Suppressed: {run(_add(address, reason, note))}", highlight=False)


@_app.command("release")
def release(
    suppression_id: Annotated[UUID, typer.Argument(help="The id, as `perennial suppressions list` shows it.")],
    reason: Annotated[str, typer.Option(help="Why mail may go there again, for people.")],
) -> None:
    """Let mail go to the address again, as far as this suppression is concerned.

    [dim]Example:[/dim]
      perennial suppressions release 01930a8e-7c1c-7b6e-b4a4-0d6f3a2b9c11 --reason "the mailbox works again"
    """
    if not run(_release(suppression_id, reason)):
        errors.print("There is no such suppression in force.")
        raise typer.Exit(1)
    console.print("Released.")


@_app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A .csv or .jsonl file.")],
    encoding: Annotated[Encoding, typer.Option(help="How the file's characters are written.")] = Encoding.UTF_8,
) -> None:
    """Suppress the addresses of a file: address, and optionally channel, reason, at, note. Exit code 1 if a row was
    refused.

    [dim]Example:[/dim]
      perennial suppressions import bounces.csv
    """
    try:
        report = run(_import(file.read_bytes(), encoding, is_csv=file.suffix.lower() == ".csv"))
    except RowError as error:
        errors.print(str(error), highlight=False)
        raise typer.Exit(2) from None
    for problem in report.problems:
        console.print(f"row {problem.row}: [bold]{problem.code}[/bold] {problem.message}", highlight=False)
    console.print(f"{report.rows:,} rows: {report.imported:,} taken, {report.refused:,} refused")
    if report.refused:
        raise typer.Exit(1)


@_app.command("export")
def export(
    file: Annotated[Path, typer.Argument(dir_okay=False, allow_dash=True, help="A new .jsonl file; - for the screen.")],
) -> None:
    """Write the suppressions in force, one JSON object a line, as the import takes them. Of addresses that an erasure
    suppressed only a hash is kept: their `address` is null.

    [dim]Examples:[/dim]
      perennial suppressions export suppressions.jsonl
      perennial suppressions export - | grep hard_bounce
    """
    with nullcontext(sys.stdout) if file == Path("-") else _new(file) as out:
        count = run(_export(out))
    errors.print(f"{count:,} suppressions")


def _new(file: Path) -> TextIO:
    """People's addresses: readable by their owner only."""
    try:
        return os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8")
    except FileExistsError:
        errors.print(f"There is a file {file} already: name another.", highlight=False)
        raise typer.Exit(2) from None


async def _export(out: TextIO) -> int:
    from api.suppression_answers import SuppressionAnswer
    from perennial.composition import open_database
    from triggers.suppression_files import exported_suppressions

    count = 0
    async with open_database(load_settings(), "suppressions") as database:
        async for row in exported_suppressions(database, datetime.now(UTC)):
            out.write(SuppressionAnswer.of(row).as_line())
            count += 1
    return count


async def _list(address: str | None, limit: int) -> Sequence[Suppression]:
    from database.suppression_lists import page_of_suppressions
    from perennial.composition import open_database

    async with open_database(load_settings(), "suppressions") as database, database.read() as session:
        return await page_of_suppressions(session, as_of=datetime.now(UTC), address=address, limit=limit)


async def _add(address: str, reason: Cause, note: str | None) -> UUID:
    from database.audit import write_audit
    from database.suppression_lists import add_suppression
    from perennial.composition import open_database

    now = datetime.now(UTC)
    async with open_database(load_settings(), "suppressions") as database, database.transaction() as session:
        row = await add_suppression(session, "email", address, reason, at=now, actor=ACTOR, note=note)
        detail = {"reason": reason, "channel": "email"}
        write_audit(session, actor=ACTOR, action="suppress", target=f"suppression/{row.id}", at=now, detail=detail)
        return row.id


async def _release(suppression_id: UUID, reason: str) -> bool:
    from database.audit import write_audit
    from database.suppression_lists import release_suppression
    from perennial.composition import open_database

    now = datetime.now(UTC)
    async with open_database(load_settings(), "suppressions") as database, database.transaction() as session:
        done = await release_suppression(session, suppression_id, at=now, actor=ACTOR, note=reason)
        if done:
            write_audit(session, actor=ACTOR, action="release", target=f"suppression/{suppression_id}", at=now)
        return done


async def _import(body: bytes, encoding: Encoding, *, is_csv: bool) -> ImportReport:
    from domain.imports import ImportFormat, lines_of
    from perennial.composition import open_database
    from triggers.suppression_files import import_suppressions

    format_ = ImportFormat.CSV if is_csv else ImportFormat.JSON_LINES
    async with open_database(load_settings(), "suppressions") as database:
        return await import_suppressions(
            database, lines_of(body, encoding), format_, as_of=datetime.now(UTC), actor=ACTOR
        )
