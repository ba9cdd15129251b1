"""Children are watched, ended when they will not end, and never confused with strangers."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from perennial.embedded.faults import StartFailedError
from perennial.embedded.process import Child, Identity

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def child_in(folder: Path, *, patience: float = 0.2) -> Child:
    return Child(
        "a server",
        pid_file=folder / "server.pid",
        log=folder / "server.log",
        mentions=sys.executable,
        farewell=((signal.SIGTERM, patience),),
    )


async def test_child_that_ignores_the_request_to_end_is_killed(tmp_path: Path) -> None:
    child = child_in(tmp_path)
    child.spawn([sys.executable, "-c", STUBBORN])
    await child.wait_until(lambda: b"up" in child.log.read_bytes(), within=120)
    pid = child.pid
    assert pid is not None

    await child.stop()

    assert not psutil.pid_exists(pid)


async def test_child_that_dies_at_the_start_is_told_with_its_last_words(tmp_path: Path) -> None:
    child = child_in(tmp_path)
    child.spawn([sys.executable, "-c", "raise SystemExit('no such setting')"])

    with pytest.raises(StartFailedError, match=r"a server did not start: no such setting \(log: "):
        await child.wait_until(lambda: False, within=120)


async def test_child_that_is_never_ready_is_stopped(tmp_path: Path) -> None:
    child = child_in(tmp_path)
    child.spawn([sys.executable, "-c", "import time; time.sleep(60)"])

    with pytest.raises(StartFailedError, match="a server was not ready in 0 s"):
        await child.wait_until(lambda: False, within=0.2)

    assert child.pid is None


async def test_orphan_of_a_killed_run_is_ended_by_its_recorded_identity(tmp_path: Path) -> None:
    killed_run = child_in(tmp_path)
    killed_run.spawn([sys.executable, "-c", "import time; time.sleep(60)"])

    assert await child_in(tmp_path).end_orphan()

    assert killed_run.pid is None


def test_pid_that_was_given_to_another_process_is_a_stranger() -> None:
    ourselves = psutil.Process()
    executable = ourselves.cmdline()[0]

    assert Identity(os.getpid(), ourselves.create_time(), executable).find() == ourselves
    assert Identity(os.getpid(), ourselves.create_time() - 3_600, executable).find() is None
    assert Identity(os.getpid(), ourselves.create_time(), "postgres-data-folder").find() is None
