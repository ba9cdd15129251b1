"""`python -m benchmarks [--only NAME] [--waiting-runs N] [--markdown]`."""

from __future__ import annotations

import asyncio
import importlib
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Protocol, cast

import typer
from rich.console import Console

from benchmarks.figure import Figure
from benchmarks.machine import Machine
from benchmarks.report import markdown, print_table, write_page
from benchmarks.world import Options, World, open_world

MEASURES = (
    "ingest",
    "routing",
    "imports",
    "earning",
    "starts",
    "latency",
    "journeys",
    "rendering",
    "conditions",
    "points",
    "memory",
)


class Measure(Protocol):
    """What each file of this folder offers."""

    async def measure(self, world: World) -> Sequence[Figure]: ...  # its rows of the table


def main(
    only: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(MEASURES)}; may be repeated.")] = None,
    waiting_runs: Annotated[
        list[int] | None, typer.Option(help="Waiting runs to measure memory with; may be repeated (2,000 and 6,000).")
    ] = None,
    expiring_lots: Annotated[int, typer.Option(help="Lots that expire in one night.")] = Options().expiring_lots,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown instead of a table.")] = False,
) -> None:
    """Measure, print one table, and (unless some measures were chosen) write docs/performance.md."""
    console = Console(stderr=as_markdown)
    names = tuple(only or MEASURES)
    if unknown := set(names) - set(MEASURES):
        raise typer.BadParameter(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(MEASURES)}")
    options = Options(tuple(waiting_runs or Options().waiting_runs), expiring_lots)
    machine = Machine.here()
    figures = asyncio.run(run(names, options, console))
    if as_markdown:
        print(markdown(figures, machine))
    else:
        print_table(figures, console)
    if names == MEASURES:
        write_page(figures, machine)


async def run(names: Sequence[str], options: Options, console: Console) -> list[Figure]:
    """Take the measures in turn, never two at once: they share the machine's cores."""
    figures: list[Figure] = []
    _stop_cleanly_on_sigterm()
    with _scratch() as folder:
        async with open_world(folder, options) as world:
            for name in names:
                measure = cast("Measure", importlib.import_module(f"benchmarks.{name}"))
                started = time.monotonic()
                with console.status(f"{name} ..."):
                    figures += await measure.measure(world)
                console.print(f"[green]✓[/green] {name:<12} {time.monotonic() - started:5.0f} s")
    return figures


def _stop_cleanly_on_sigterm() -> None:
    """As Ctrl-C does: the servers that were started here end too."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder that is gone afterwards; others may walk in, because an embedded PostgreSQL drops root's rights."""
    with tempfile.TemporaryDirectory(prefix="perennial-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


if __name__ == "__main__":
    typer.run(main)
