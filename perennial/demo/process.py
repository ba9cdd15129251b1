"""The demo as a process of its own beside `perennial up`: it reports on stdout and ends when its parent does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable

_URL, _ADMIN, _WRITE = "PERENNIAL_DEMO_URL", "PERENNIAL_DEMO_ADMIN_KEY", "PERENNIAL_DEMO_WRITE_KEY"
_FAREWELL_SECONDS = 5.0


async def run_demo(api_url: str, admin_key: str, write_key: str, *, tell: Callable[[str], None]) -> None:
    """Run the demo until cancelled and pass on what it tells; one that ends by itself is told of and not restarted."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "perennial.demo"),
        # The keys travel in the environment: command lines are everybody's to read.
        env={**os.environ, _URL: api_url, _ADMIN: admin_key, _WRITE: write_key},
        stdin=asyncio.subprocess.PIPE,  # closes when we die, however that happens
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C in the terminal reaches us, and we end it
    )
    try:
        assert process.stdout is not None  # noqa: S101  a pipe was asked for
        async for line in process.stdout:
            tell(f"[dim]demo:[/dim] {line.decode(errors='replace').rstrip()}")
        tell(f"The demo shop ended (exit code {await process.wait()}); everything else runs on.")
    finally:
        await _end(process)


def told_by_parent() -> tuple[str, str, str]:
    """API address, admin key and write key, in the demo's own process."""
    return os.environ[_URL], os.environ[_ADMIN], os.environ[_WRITE]


async def parent_is_gone() -> None:
    """Returns when the parent has died or closed our stdin."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(_FAREWELL_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
