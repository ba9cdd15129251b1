"""`perennial import`: past customers, products and orders, posts with their figures, and balances of another programme,
from files."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from domain.import_presets import PRESET_KINDS, Preset
from domain.imports import Encoding, ImportFormat, ImportKind, RowError, text_of
from perennial.cli.terminal import console, errors, load_settings, run

if TYPE_CHECKING:
    from domain.opening_rows import OpeningTotals
    from triggers.importing import ImportReport


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import", no_args_is_help=True)(import_file)


def import_file(  # noqa: PLR0917  typer calls it
    kind: Annotated[ImportKind, typer.Argument(help="What the rows are.")],
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A .csv or .jsonl file.")],
    format_: Annotated[
        ImportFormat | None, typer.Option("--format", help="If the file's name does not end in .csv or .jsonl.")
    ] = None,
    encoding: Annotated[Encoding, typer.Option(help="How the file's characters are written.")] = Encoding.UTF_8,
    enter: Annotated[bool, typer.Option("--enter", help="Let journeys start from what is imported.")] = False,
    preset: Annotated[
        Preset | None, typer.Option(help="Of customers and orders: whose export the file is, with its own columns.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Of loyalty: say what would be loaded, and load nothing.")
    ] = False,
) -> None:
    """Import past data: profiles, orders, the catalogue, posts and loyalty balances. Only --enter starts journeys.

    Live events are routed first, however large the file is.

    A file may be imported again at any time: rows that were taken before are recognised. Each row that cannot be taken
    is reported with its number and reason; the others are taken. Exit code 1 if any row was refused, 2 if the file is
    in another encoding: then nothing was taken.

    The columns of a .csv are parted by commas, semicolons or tabs, as its header shows.

    [dim]customers[/dim] need [bold]user_id[/bold] (or id); other columns are traits: [dim]address.city[/dim] nests,
    [dim]age:number[/dim] and [dim]vip:boolean[/dim] are typed, [dim]consent.marketing[/dim] is subscribed or
    unsubscribed, [dim]timestamp[/dim] says since when.
    [dim]orders[/dim] need [bold]order_id[/bold], [bold]user_id[/bold] and [bold]completed_at[/bold], the time; amounts
    are decimal ([dim]49.90[/dim]), [dim]products[/dim] is a JSON list, [dim]refunded[/dim] an amount.
    [dim]products[/dim] need [bold]product_id[/bold] (or sku).
    [dim]posts[/dim] of the shop need [bold]network[/bold], [bold]post_id[/bold], [bold]posted_at[/bold], and
    [bold]engagements[/bold] or likes, comments, shares, saves, clicks; reach, impressions, followers, measured_at.
    [dim]loyalty[/dim] is what members had in another programme, a lot of points a row: [bold]user_id[/bold] of a known
    customer, [bold]points[/bold] (below zero: owed) with earned_at, activates_at, expires_at and a reference, or
    [bold]tier[/bold] with tier_since, tier_until, tier_evidence.

    [dim]Examples:[/dim]
      perennial import customers customers.csv
      perennial import orders orders.jsonl
      perennial import posts instagram.csv
      perennial import loyalty balances.csv --dry-run
      perennial import orders orders_export.csv --preset shopify
    """
    if dry_run and kind is not ImportKind.LOYALTY:
        errors.print("--dry-run is for loyalty", highlight=False)
        raise typer.Exit(2)
    if preset is not None and kind not in PRESET_KINDS:
        errors.print(f"--preset is for {' and '.join(PRESET_KINDS)}", highlight=False)
        raise typer.Exit(2)
    chosen = format_ or (ImportFormat.CSV if file.suffix.lower() == ".csv" else ImportFormat.JSON_LINES)
    try:
        report = run(_import(kind, file, chosen, encoding, enter=enter, dry_run=dry_run, preset=preset))
    except RowError as error:
        errors.print(str(error), highlight=False)
        raise typer.Exit(2) from None
    _tell(report, dry_run=dry_run)
    if kind is ImportKind.LOYALTY:
        _tell_totals(report.totals)
    if report.refused:
        raise typer.Exit(1)


async def _import(
    kind: ImportKind,
    file: Path,
    format_: ImportFormat,
    encoding: Encoding,
    *,
    enter: bool,
    dry_run: bool,
    preset: Preset | None,
) -> ImportReport:
    from perennial.composition import open_database
    from triggers.importing import import_rows

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f}%"), TimeElapsedColumn())
    settings = load_settings()
    size = file.stat().st_size  # noqa: ASYNC240 as the reading below: nothing else runs in this process
    async with open_database(settings, "import") as database:
        with Progress(*columns, console=console) as shown, file.open("rb") as opened:
            lines = text_of(opened, encoding)
            task = shown.add_task(f"Importing {kind}", total=size)

            def progress(report: ImportReport) -> None:
                shown.update(task, completed=opened.tell(), description=f"{report.rows:,} {kind}")

            as_of = datetime.now(UTC)
            return await import_rows(
                *(database, kind, lines, format_),
                as_of=as_of,
                enter=enter,
                truncate_ip=settings.truncate_ip,
                progress=progress,
                only_tries=dry_run,
                preset=preset,
            )


def _tell(report: ImportReport, *, dry_run: bool) -> None:
    for problem in report.problems:
        console.print(f"row {problem.row}: [bold]{problem.code}[/bold] {problem.message}", highlight=False)
    if report.refused > len(report.problems):
        console.print(f"... and {report.refused - len(report.problems):,} more")
    console.print(
        f"{report.rows:,} rows: {report.imported:,} {'would be imported' if dry_run else 'imported'}, "
        f"{report.duplicates:,} known already, {report.refused:,} refused"
    )


def _tell_totals(totals: OpeningTotals) -> None:
    tiers = ", ".join(f"{count:,} {tier}" for tier, count in sorted(totals.tiers.items()))
    console.print(
        f"{len(totals.members):,} members: {totals.points:,} points in {totals.lots:,} lots, {totals.pending:,} of "
        f"them pending; {totals.owed:,} points owed; tiers: {tiers or 'none'}"
    )
