"""Our own processes (api, router, worker) as children of `perennial up`."""

from __future__ import annotations

import http.client
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from perennial.embedded.process import Child
from perennial.loopback import LOOPBACK


class Service:
    """One `perennial <command>` process that answers `/readyz` on its port."""

    def __init__(self, name: str, *command: str, folder: Path) -> None:
        self._command = command
        self._port = 0
        self._environment: Mapping[str, str] = {}
        self.child = Child(
            name,
            pid_file=folder / f"{name}.pid",
            log=folder / f"{name}.log",
            mentions="perennial",
            farewell=((signal.SIGTERM, 20.0),),
        )

    def configure(self, *, port: int, environment: Mapping[str, str]) -> None:
        """Say where it answers and what its settings are (PERENNIAL_* variables over our own environment)."""
        self._port = port
        self._environment = {**os.environ, **environment}

    async def start(self) -> None:
        """Start and wait until it is ready; raises StartFailedError."""
        command = [sys.executable, "-m", "perennial", *self._command]
        self.child.spawn(command, environment=self._environment)
        await self.child.wait_until(self._is_ready, within=180)

    async def stop(self) -> None:
        """Let it finish what it is doing, then end it."""
        await self.child.stop()

    async def end_orphan(self) -> bool:
        """Stop what an earlier, killed run left behind; whether there was something."""
        return await self.child.end_orphan()

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection(LOOPBACK, self._port, timeout=2)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
