"""Which errors tell of the database and not of what was asked: asking again later is right."""

from __future__ import annotations

import socket
from typing import Final

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

STATEMENT_TIMEOUT: Final = "57014"
TRANSACTION_TIMEOUT: Final = "25P04"
LOCK_TIMEOUT: Final = "55P03"
READ_ONLY: Final = "25006"
FULL: Final = "53100"

# Time-outs of statements, locks, idle and whole transactions; deadlocks and failed serialisation; a database that is
# read-only.
_STATES = frozenset({STATEMENT_TIMEOUT, LOCK_TIMEOUT, "25P03", TRANSACTION_TIMEOUT, "40P01", "40001", READ_ONLY})
# Connections that break, resources that run out (disk, memory, connections), servers that start, stop or crash.
_CLASSES = ("08", "53", "57P")

AWAY: Final = (OperationalError, InterfaceError, PoolTimeoutError, ConnectionError, TimeoutError, socket.gaierror)
"""What is raised when there is no connection to be had."""


def sqlstate_of(error: BaseException) -> str:
    """PostgreSQL's code of an error, "" where there is none; of a connection that was ended, why it was."""
    found, cause = "", getattr(error, "orig", None) or error
    while cause is not None:
        found = getattr(cause, "sqlstate", None) or found
        cause = cause.__cause__
    return found


def is_outage(error: BaseException) -> bool:
    """Whether the database, a lock or a limit is the reason."""
    if isinstance(error, AWAY):
        return True
    if not isinstance(error, DBAPIError):
        return False
    state = sqlstate_of(error)
    return error.connection_invalidated or state in _STATES or state.startswith(_CLASSES)


def is_cut_off(error: BaseException) -> bool:
    """Whether there is no connection, or no longer one; nothing was too slow."""
    if isinstance(error, TimeoutError | PoolTimeoutError):
        return False
    state = sqlstate_of(error)
    if state:
        return state.startswith(("08", "57P"))
    return isinstance(error, InterfaceError | ConnectionError | socket.gaierror) or (
        isinstance(error, DBAPIError) and error.connection_invalidated
    )
