"""What `perennial doctor` asks of the restore journal (G32)."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from connectors.journal_folder import JournalFolder
from database.restore_journal import oldest_unwritten
from database.session import Database
from perennial.doctor import Verdict
from triggers.restoring import missing_lines

_WRITTEN_WITHIN = timedelta(minutes=1)


async def examine_journal(database: Database, folder: Path | None, as_of: datetime) -> list[Verdict]:
    """Whether what a restore must not undo stands outside the database, and whether a restore has undone some of it."""
    if folder is None:
        told = ["PERENNIAL_JOURNAL_DIR is not set: a restore would undo erasures and withdrawals since the backup"]
        return [Verdict("G32", "what a restore must not undo is kept outside the database", told, is_notice=True)]
    async with database.read() as session:
        oldest = await oldest_unwritten(session)
    late = [] if oldest is None or as_of - oldest < _WRITTEN_WITHIN else [f"not written since {oldest:%Y-%m-%d %H:%M}"]
    missing, unreadable = await missing_lines(database, JournalFolder(folder))
    undone = [f"{len(missing)} lines: run perennial restore replay"] if missing else []
    return [
        Verdict("G32", "what a restore must not undo is kept outside the database", late),
        Verdict("G32", "nothing that people asked for was undone by a restore", undone),
        Verdict("G32", "every line of the restore journal can be read", unreadable, is_notice=True),
    ]
