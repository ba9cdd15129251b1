"""Which account the embedded PostgreSQL runs under, and where that account may go.

PostgreSQL refuses to run as root. For root, then, it runs as the owner of the data it already has, else as `nobody`;
and because root's own folders (/root above all) are closed to other accounts, its data moves to /var/lib/perennial
whenever the way to the wanted folder is closed (its binaries too: binaries.py). Nobody else's permissions are ever
changed.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import stat
from pathlib import Path

from perennial.embedded.process import Account

SHARED_HOME = Path("/var/lib/perennial")


def account_for(data: Path) -> Account | None:
    """The account to drop to; None when we are an ordinary user and stay ourselves."""
    if os.geteuid() != 0:
        return None
    if data.exists() and data.stat().st_uid != 0:
        return Account(data.stat().st_uid, data.stat().st_gid)
    nobody = pwd.getpwnam("nobody")  # exists everywhere; initdb insists on an account with a name
    return Account(nobody.pw_uid, nobody.pw_gid)


def reachable_folder(folder: Path) -> Path:
    """The folder itself, or for root one below /var/lib/perennial when a parent is closed to other accounts."""
    if _is_open(folder.parent):
        return folder
    return SHARED_HOME / f"{folder.parent.parent.name}-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"


def make_folder(folder: Path) -> None:
    """Make the folder; those made just now (only those) may be walked through by root's dropped account."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        made.chmod(0o711 if os.geteuid() == 0 else 0o700)


def close_files(folder: Path) -> None:
    """What servers keep directly in a folder of ours, logs too, is for its owner alone; earlier releases made it so
    that others could read it.
    """
    for path in folder.iterdir():
        if path.is_file() and not path.is_symlink():
            path.chmod(0o600)


def _is_open(path: Path) -> bool:
    """Whether other accounts may walk through every folder that exists on the way; only root needs them to."""
    on_the_way = [folder.stat() for folder in (path, *path.parents) if folder.exists()]
    return os.geteuid() != 0 or all(folder.st_mode & stat.S_IXOTH for folder in on_the_way)
