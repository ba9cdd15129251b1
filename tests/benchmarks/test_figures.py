"""What the benchmark's table says about a figure."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from benchmarks.figure import Better, Figure, percentile
from benchmarks.machine import Machine
from benchmarks.report import markdown, write_page

MACHINE = Machine("Test CPU", 2, 8 * 2**30, "Linux 6", "3.11.2", "18.6", "1.9", date(2026, 1, 2), 0.3)


def test_a_figure_with_a_floor_is_judged_by_its_ratio() -> None:
    figure = Figure("ingest", 600, "events/s", floor=1_000, floor_is="raw insert", aim=0.5)

    assert figure.ratio == 0.6
    assert figure.is_met is True


def test_a_figure_without_a_floor_is_judged_by_its_value() -> None:
    assert Figure("memory", 450, "MB", aim=400, better=Better.LOWER).is_met is False
    assert Figure("latency", 450, "ms", aim=500, better=Better.LOWER).is_met is True
    assert Figure("memory idle", 80, "MB").is_met is None


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.95, 95), (1.0, 100), (0.001, 1)])
def test_percentiles_are_by_nearest_rank(share: float, expected: float) -> None:
    assert percentile([float(value) for value in range(100, 0, -1)], share) == expected


def test_writing_the_page_keeps_what_people_wrote_and_replaces_the_figures(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text("# Performance\n\nWords.\n")

    write_page([Figure("ingest", 600, "events/s")], MACHINE, page)
    write_page([Figure("routing", 1_500, "events/s", aim=1_500)], MACHINE, page)

    text = page.read_text()
    assert "Words." in text
    assert "ingest" not in text
    assert "| routing | 1,500 events/s |  |  | ≥ 1,500 events/s | yes |" in text


def test_the_machine_stands_above_the_table() -> None:
    assert "Test CPU, 2 cores, 8 GiB" in markdown([], MACHINE).splitlines()[0]
