"""The restore journal as files in a folder outside the database: JSON lines, one file a month, only added to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from domain.restore_journal import Line

SUFFIX = ".jsonl"


class JournalFolder:
    """A folder that backups of the database leave alone. Blocking; raises OSError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def append(self, lines: Sequence[Line]) -> None:
        """Add lines and see them onto the disk. The folder is made, for its own user alone, if it is missing."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for month in sorted({_month(line) for line in lines}):
            content = b"".join(line.model_dump_json().encode() + b"\n" for line in lines if _month(line) == month)
            self._append(self.folder / f"{month}{SUFFIX}", content)

    def months(self) -> Sequence[str]:
        """The files' names without their ending, the latest first."""
        if not self.folder.is_dir():
            return []
        return sorted((each.stem for each in self.folder.glob(f"*{SUFFIX}")), reverse=True)

    def read(self, month: str) -> Sequence[Line | str]:
        """The lines of a month as they were added; a line that cannot be read is said in words."""
        path = self.folder / f"{month}{SUFFIX}"
        with path.open("rb") as file:
            return [_line(raw) or f"{path}, line {number}" for number, raw in enumerate(file, start=1)]

    def _append(self, path: Path, content: bytes) -> None:
        is_new = not path.exists()
        path.touch(mode=0o600)
        with path.open("a+b") as file:
            file.write(_end_torn_line(file) + content)
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            _sync_folder(self.folder)


def _line(raw: bytes) -> Line | None:
    try:
        return Line.model_validate_json(raw)
    except ValidationError:
        return None


def _month(line: Line) -> str:
    return f"{line.at:%Y-%m}"


def _end_torn_line(file: BinaryIO) -> bytes:
    """A line break where a crash left the last line without one, so that it spoils no other."""
    if file.seek(0, os.SEEK_END) == 0:
        return b""
    file.seek(-1, os.SEEK_END)
    return b"" if file.read(1) == b"\n" else b"\n"


def _sync_folder(folder: Path) -> None:
    """A new file's name is on the disk only when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
