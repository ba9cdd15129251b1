"""What to do about a claim that takes longer than PostgreSQL lets a router take: look for the event that does it."""

from __future__ import annotations

from typing import Final

from database.outages import STATEMENT_TIMEOUT, TRANSACTION_TIMEOUT, sqlstate_of

TRIES: Final = 3
"""How often a claim may take too long before its events are tried one by one: the database itself may be slow."""


class Narrowing:
    """After `TRIES` claims that took too long, as many events as they had are taken singly."""

    def __init__(self) -> None:
        self._slow = 0
        self._singly = 0

    def limit(self, wanted: int) -> int:
        """How many events to claim."""
        return 1 if self._singly else wanted

    def failed(self, error: Exception, limit: int) -> bool:
        """Note a failure; whether it was of a single event that alone takes too long."""
        if sqlstate_of(error) not in (STATEMENT_TIMEOUT, TRANSACTION_TIMEOUT):
            return False
        if self._singly:
            return True
        self._slow += 1
        if self._slow >= TRIES:
            self._slow, self._singly = 0, limit
        return False

    def passed(self, events: int) -> None:
        """So many went through."""
        if events:
            self._slow, self._singly = 0, max(0, self._singly - events)
