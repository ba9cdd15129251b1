"""What `make run` and `make test` do first, in a checkout laid out by a test: run it as a program of its own.

Everything is imported before privileges are dropped, because the real checkout may be closed to other accounts.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import asyncpg

from perennial.embedded import accounts, folder, temporal
from perennial.embedded.postgres import EmbeddedPostgres


async def start(checkout: Path, temporary: Path) -> None:
    """`make run` keeps its data in the checkout, `make test` in a temporary folder that others may enter."""
    with folder.held(checkout / ".perennial"):
        await answers(EmbeddedPostgres(checkout / ".perennial" / "postgres", durable=False))
        server = temporal.EmbeddedTemporal(checkout / ".perennial" / "temporal")
        await server.start()
        await server.stop()
    await answers(EmbeddedPostgres(temporary / "postgres", durable=False))


async def answers(server: EmbeddedPostgres) -> None:
    """Start it, ask it something, stop it."""
    await server.start()
    try:
        connection = await asyncpg.connect(server.url())
        await connection.execute("DO $$ BEGIN PERFORM 1; END $$")  # loads a library of the installation
        await connection.close()
    finally:
        await server.stop()


if __name__ == "__main__":
    place, uid = Path(sys.argv[1]), int(sys.argv[2])
    sys.path.insert(0, str(place / "checkout" / "site"))
    sys.executable = str(place / "checkout" / "bin" / "python")
    accounts.SHARED_HOME = place / "shared"
    asyncio.run(asyncio.to_thread("localhost".encode, "idna"))  # imports what asyncio and sockets import late
    if uid != os.geteuid():
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    asyncio.run(start(place / "checkout", place / "temporary"))
