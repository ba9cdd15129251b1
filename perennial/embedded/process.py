"""Child processes told apart from strangers: a pid alone is no identity, a pid with its start time is."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from perennial.embedded.faults import StartFailedError, explain_log

# The kernel's start times and a server's own clock differ by a little; a reused pid differs by the life of a process.
_START_TIME_TOLERANCE_SECONDS = 5.0
_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Account:
    """The uid and gid a child runs under."""

    uid: int
    gid: int


def spawn(
    command: Sequence[str | Path],
    *,
    log: Path,
    account: Account | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: Path = Path(os.devnull),
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own (so that the terminal's Ctrl-C reaches only us), its output in `log`."""
    with log.open("ab") as output, stdin.open("rb") as source:
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=source,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd="/" if account else None,
            env=dict(environment) if environment is not None else None,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )


def wait_until(
    is_ready: Callable[[], bool], child: subprocess.Popen[bytes], *, name: str, log: Path, within: float
) -> None:
    """Poll until the child is ready; raises StartFailedError when it dies or takes longer than `within` seconds."""
    give_up_at = time.monotonic() + within
    while not is_ready():
        if child.poll() is not None:
            raise StartFailedError(f"{name} did not start: {explain_log(log)}")
        if time.monotonic() > give_up_at:
            raise StartFailedError(f"{name} was not ready within {within:.0f} s: {explain_log(log)}")
        time.sleep(_POLL_SECONDS)


def find_running(pid: int, *, started_at: float, mentions: str) -> psutil.Process | None:
    """The process of that pid if it really is the one that started then with `mentions` in its command line."""
    try:
        process = psutil.Process(pid)
        is_same = abs(process.create_time() - started_at) <= _START_TIME_TOLERANCE_SECONDS
        return process if is_same and any(mentions in part for part in process.cmdline()) else None
    except psutil.Error:
        return None


def stop(process: psutil.Process | subprocess.Popen[bytes], *signals: tuple[signal.Signals, float]) -> None:
    """Send each signal in turn, waiting its seconds for the end; SIGKILL is the last word."""
    for number, seconds in (*signals, (signal.SIGKILL, 10.0)):
        if isinstance(process, subprocess.Popen) and process.poll() is not None:
            return
        try:
            process.send_signal(number)
            process.wait(seconds)
        except (subprocess.TimeoutExpired, psutil.TimeoutExpired):
            continue
        except (ProcessLookupError, psutil.NoSuchProcess):
            return
        else:
            return
