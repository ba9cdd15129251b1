"""Child processes told apart from strangers: a pid alone is no identity, a pid with its start time is."""

from __future__ import annotations

import asyncio
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

Farewell = tuple[tuple[signal.Signals, float], ...]
"""Signals to send in turn, with the seconds to wait after each; SIGKILL follows by itself."""


@dataclass(frozen=True, slots=True)
class Account:
    """The uid and gid a child runs under."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Identity:
    """A process that once ran: its pid, when it started (Unix seconds), and a word of its command line."""

    pid: int
    started_at: float
    mentions: str

    def find(self) -> psutil.Process | None:
        """The process if it still runs; None when it is gone or its pid now belongs to a stranger."""
        try:
            process = psutil.Process(self.pid)
            is_same = abs(process.create_time() - self.started_at) <= _START_TIME_TOLERANCE_SECONDS
            is_same = is_same and any(self.mentions in part for part in process.cmdline())
        except psutil.Error:
            return None
        return process if is_same and process.status() != psutil.STATUS_ZOMBIE else None


class Child:
    """One server we start, watch and stop. Its identity is kept in `pid_file`, so that a later run finds an orphan."""

    def __init__(self, name: str, *, pid_file: Path, log: Path, mentions: str, farewell: Farewell) -> None:
        self.name = name
        self.log = log
        self._pid_file = pid_file
        self._mentions = mentions
        self._farewell = farewell
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The pid while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def killed_by(self) -> str | None:
        """The signal that ended it, such as `SIGKILL`; None while it runs and where it ended by itself."""
        code = self._process.poll() if self._process else None
        return None if code is None or code >= 0 else signal.Signals(-code).name

    def spawn(
        self,
        command: Sequence[str | Path],
        *,
        account: Account | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it with a fresh log, keeping the previous one beside it."""
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".previous.log"))
        self._process = _start(command, log=self.log, account=account, environment=environment)
        started_at = psutil.Process(self._process.pid).create_time()
        whole = self._pid_file.with_suffix(".new")  # whoever reads it meanwhile reads the one before
        whole.touch(mode=0o600)
        whole.write_text(f"{self._process.pid} {started_at}\n")
        whole.replace(self._pid_file)

    async def wait_until(self, is_ready: Callable[[], bool], *, within: float) -> None:
        """Poll until ready. Raises StartFailedError when it dies or is late; stops it then, and when cancelled."""
        give_up_at = time.monotonic() + within
        try:
            while not await asyncio.to_thread(is_ready):
                if self.pid is None:
                    raise StartFailedError(f"{self.name} did not start: {explain_log(self.log)}")
                if time.monotonic() > give_up_at:
                    raise StartFailedError(f"{self.name} was not ready in {within:.0f} s: {explain_log(self.log)}")
                await asyncio.sleep(_POLL_SECONDS)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End it if it runs."""
        if self._process is not None:
            await _end(psutil.Process(self._process.pid), self._farewell) if self.pid else None
            self._process.wait()
            self._process = None
            self._pid_file.unlink(missing_ok=True)

    async def end_orphan(self) -> bool:
        """End what an earlier, killed run left behind under this name; whether there was something."""
        recorded = self._pid_file.read_text().split() if self._pid_file.exists() else []
        identity = Identity(int(recorded[0]), float(recorded[1]), self._mentions) if len(recorded) == 2 else None
        was_running = identity is not None and await end_orphan(identity, self._farewell)
        self._pid_file.unlink(missing_ok=True)
        return was_running


async def end_orphan(identity: Identity, farewell: Farewell) -> bool:
    """End that very process if it still runs; a stranger that has its pid by now is left alone."""
    orphan = identity.find()
    if orphan is not None:
        await _end(orphan, farewell)
    return orphan is not None


async def run_to_end(command: Sequence[str | Path], *, log: Path, account: Account | None, stdin: Path) -> bool:
    """Run a command, its output in `log`; whether it ended well. A cancelled wait ends it."""
    process = _start(command, log=log, account=account, stdin=stdin)
    try:
        while process.poll() is None:  # noqa: ASYNC110  # another process ends: there is no event to wait for
            await asyncio.sleep(_POLL_SECONDS)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    return process.returncode == 0


def private(path: str | os.PathLike[str], flags: int) -> int:
    """An opener for open(): a file that is made now is for its owner alone."""
    return os.open(path, flags, 0o600)


def _start(
    command: Sequence[str | Path],
    *,
    log: Path,
    account: Account | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: Path = Path(os.devnull),
) -> subprocess.Popen[bytes]:
    """In a session of its own, so that the terminal's Ctrl-C reaches only us and we stop things in order."""
    with open(log, "ab", opener=private) as output, stdin.open("rb") as source:
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=source,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o077,  # what a server writes is for its user alone
            cwd="/" if account else None,
            env=dict(environment) if environment is not None else None,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )


async def _end(process: psutil.Process, farewell: Farewell) -> None:
    for number, seconds in (*farewell, (signal.SIGKILL, 10.0)):
        give_up_at = time.monotonic() + seconds
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            return
        while _is_alive(process):
            if time.monotonic() > give_up_at:
                break
            await asyncio.sleep(_POLL_SECONDS)
        else:
            return


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
