"""The data folder of `perennial up`: one run at a time holds it, and `dev.json` tells programs where everything is."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from perennial.embedded.accounts import make_folder
from perennial.embedded.announcement import ANNOUNCEMENT
from perennial.embedded.faults import StartFailedError, explain_os_error


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the folder while the block runs. The kernel frees it when we die, so a stale lock cannot exist."""
    try:
        make_folder(folder.absolute())
        lock = (folder / "up.lock").open("a+")
        os.fchmod(lock.fileno(), 0o600)
    except OSError as error:
        raise StartFailedError(f"The data folder cannot be used. {explain_os_error(error)}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise StartFailedError(
                f"Perennial already runs on {folder} (pid {lock.read().strip()}); stop that one first, "
                "or set PERENNIAL_DATA_DIR to run a second one next to it."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        (folder / ANNOUNCEMENT).unlink(missing_ok=True)  # a killed run has left its own, which is true no more
        yield


@contextmanager
def announced(folder: Path, addresses: Mapping[str, str]) -> Iterator[None]:
    """Write `dev.json` (readable by its owner only: it holds keys) and take it away again afterwards."""
    path = folder / ANNOUNCEMENT
    write_private(path, json.dumps(addresses, indent=2) + "\n")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def write_private(path: Path, text: str) -> None:
    """Replace the file in one step; no reader sees half of it, and nobody but the owner may read it."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    unfinished.write_text(text)
    unfinished.replace(path)
