"""The figures as one table for people, and as docs/performance.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.figure import Figure
from benchmarks.machine import Machine

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
_MARK = "<!-- figures: written by `make bench`; everything below this line is replaced -->"


def print_table(figures: Sequence[Figure], console: Console) -> None:
    """One row a figure, the ones that missed their aim in red."""
    table = Table(title="Perennial, measured", show_lines=False)
    for heading in ("measure", "figure", "floor", "ratio", "aim", ""):
        table.add_column(heading, justify="left" if heading in ("measure", "aim") else "right")
    for figure in figures:
        cells = _cells(figure)
        table.add_row(*cells, style="red" if figure.is_met is False else None)
    console.print(table)


def write_page(figures: Sequence[Figure], machine: Machine, page: Path = PAGE) -> None:
    """Replace the figures on the page; what people wrote above the mark stays."""
    before = page.read_text().partition(_MARK)[0] if page.exists() else "# Performance\n\n"
    page.write_text(before + _MARK + "\n\n" + markdown(figures, machine))


def markdown(figures: Sequence[Figure], machine: Machine) -> str:
    """The machine, then the table."""
    lines = [
        f"Measured on {machine.measured_on.isoformat()}: {machine}.",
        "",
        "| measure | figure | floor | ratio | aim | met |",
        "|---|---:|---:|---:|---|---|",
        *("| " + " | ".join(_cells(figure)) + " |" for figure in figures),
        "",
    ]
    return "\n".join(lines)


def _cells(figure: Figure) -> list[str]:
    floor = f"{_number(figure.floor)} ({figure.floor_is})" if figure.floor is not None else ""
    met = {True: "yes", False: "**no**", None: ""}[figure.is_met]
    ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
    return [figure.name, f"{_number(figure.value)} {figure.unit}", floor, ratio, figure.aim_text, met]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
