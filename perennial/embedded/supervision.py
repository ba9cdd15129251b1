"""Watching what we started: a child that dies is told of in one sentence and started again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from perennial.embedded.faults import StartFailedError, explain_log
from perennial.embedded.process import Child

_LOOK_EVERY_SECONDS = 0.5
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
_STEADY_SECONDS = 60.0  # one that ran this long starts again without a pause


class Server(Protocol):
    """Something of ours that runs as a child process."""

    @property
    def child(self) -> Child: ...  # the process
    async def start(self) -> None: ...  # returns when ready
    async def stop(self) -> None: ...  # returns when ended
    async def end_orphan(self) -> bool: ...  # whether an earlier run had left one


async def supervise(servers: Sequence[Server], tell: Callable[[str], None]) -> None:
    """Keep every server running until cancelled."""
    async with asyncio.TaskGroup() as watching:
        for server in servers:
            watching.create_task(_keep_running(server, tell), name=f"watch {server.child.name}")


async def _keep_running(server: Server, tell: Callable[[str], None]) -> None:
    pause, started = _FIRST_PAUSE_SECONDS, time.monotonic()
    while True:
        await asyncio.sleep(_LOOK_EVERY_SECONDS)
        if server.child.pid is not None:
            continue
        if time.monotonic() - started > _STEADY_SECONDS:
            pause = _FIRST_PAUSE_SECONDS
        tell(f"{server.child.name} ended: {_cause(server.child)}. Starting it again in {pause:.0f} s.")
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        started = time.monotonic()
        try:
            await server.start()
        except StartFailedError as error:
            tell(str(error))
        else:
            tell(f"{server.child.name} runs again.")


def _cause(child: Child) -> str:
    """What was killed could write nothing about it: the end of its log would mislead."""
    return f"it was killed by {child.killed_by} (log: {child.log})" if child.killed_by else explain_log(child.log)
