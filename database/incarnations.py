"""Whether a process still works on the database that it began with: a restored one must not be sent from at once.

The rows do not show a restore; what holds them does. A database that was made again has another oid, one that was
copied back or recovered needed a start of its server, and tables that were made again or emptied have other files.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

INCARNATION: Final = """
    SELECT oid, pg_postmaster_start_time() AS started_at, pg_is_in_recovery() AS is_recovering,
        pg_relation_filenode(to_regclass('restore_journal')) AS file
    FROM pg_database WHERE datname = current_database()
"""


@dataclass(frozen=True, slots=True)
class Incarnation:
    """What a restore changes; so does a restart of PostgreSQL, which costs a look at the journal and nothing else."""

    oid: int
    started_at: datetime
    is_recovering: bool
    file: int | None


class AnotherDatabaseError(ConnectionError):
    """The connection leads to a database on which the restore journal has not been replayed yet."""


class Admission:
    """Lets a pool use connections to one incarnation only. `pins`: to the first that it meets."""

    def __init__(self, *, pins: bool = False) -> None:
        self.trusted: Incarnation | None = None
        self._pins = pins
        self.is_strange = asyncio.Event()
        """Set once a connection led to another database than the trusted one."""

    def admit(self, connection: Any, _: object) -> None:  # SQLAlchemy's adapter of an asyncpg connection
        """Look at a new connection before anybody uses it; raises AnotherDatabaseError, with the connection closed."""
        row = connection.run_async(lambda raw: raw.fetchrow(INCARNATION))
        try:
            self.check(Incarnation(*row))
        except AnotherDatabaseError:
            connection.run_async(lambda raw: raw.close(timeout=1))
            raise

    def check(self, found: Incarnation) -> None:
        """Raises AnotherDatabaseError for any but the trusted one, and sets `is_strange`."""
        if self._pins and self.trusted is None:
            self.trusted = found
        if found != self.trusted:
            self.is_strange.set()
            raise AnotherDatabaseError("the database is another one than before; the restore journal comes first")

    def trust(self, incarnation: Incarnation) -> None:
        """Use this one from now on, and no other."""
        self.trusted = incarnation
        self.is_strange.clear()
