"""Why an embedded server could not start, as one sentence a person can act on."""

from __future__ import annotations

import errno
from pathlib import Path


class StartFailedError(Exception):
    """The stack cannot start; the message is the one sentence that is shown to the person."""


_KNOWN_FAULTS = (
    ("No space left on device", "the disk is full; free some space and start again"),
    ("Address already in use", "its port is taken by another program"),
    ("database files are incompatible", "its data was made by another PostgreSQL version; move the folder away"),
    ("user does not exist", "the account that runs it has no name in /etc/passwd; PostgreSQL needs one"),
    ("Permission denied", "a file of its data folder belongs to another user"),
    ("database or disk is full", "the disk is full; free some space and start again"),
)


def explain_log(log: Path) -> str:
    """What the end of a server's log says, in words of ours where the fault is a known one."""
    lines = log.read_text(errors="replace").splitlines()[-40:] if log.exists() else []
    for needle, sentence in _KNOWN_FAULTS:
        if any(needle in line for line in lines):
            return f"{sentence} (log: {log})"
    last = next((line for line in reversed(lines) if line.strip()), "it wrote no log")
    return f"{last.strip()} (log: {log})"


def explain_os_error(error: OSError) -> str:
    """The operating system's refusal as a sentence."""
    if error.errno == errno.ENOSPC:
        return "The disk is full; free some space and start again."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{error.filename} cannot be written by this user; run as its owner or set PERENNIAL_DATA_DIR."
    return f"{error.strerror}: {error.filename}"
