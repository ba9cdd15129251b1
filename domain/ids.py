"""Typed identifiers. Ids that we make are uuid7 (RFC 9562): they sort by the time they were made."""

from __future__ import annotations

import secrets
import time
from datetime import datetime
from threading import Lock
from typing import NewType
from uuid import UUID

CustomerId = NewType("CustomerId", UUID)
EventId = NewType("EventId", UUID)
RunId = NewType("RunId", UUID)
MessageId = NewType("MessageId", UUID)
KeyId = NewType("KeyId", str)
JourneyKey = NewType("JourneyKey", str)
TemplateKey = NewType("TemplateKey", str)


def first_id_at(at: datetime) -> UUID:
    """The least id that can have been made at that time or later, for ranges over ids."""
    return UUID(int=int(at.timestamp() * 1_000) << 80 | 0x7 << 76 | 0b10 << 62)


class _Ticks:
    """Quarters of a microsecond since 1970, each given out once: they go on where a clock stands or steps back."""

    def __init__(self) -> None:
        self._last = 0
        self._lock = Lock()

    def next(self) -> int:
        """60 bits: milliseconds, then 12 bits of their fraction."""
        milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
        now = (milliseconds & (1 << 48) - 1) << 12 | (nanoseconds << 12) // 1_000_000
        with self._lock:
            self._last = max(now, self._last + 1)
            return self._last


_ticks = _Ticks()


def new_id() -> UUID:
    """A fresh uuid7: 48 bits of Unix milliseconds, 12 bits of their fraction, then 62 random bits.

    The fraction is RFC 9562's, section 6.2, method 3. Ids made one after the other in one process always sort in that
    order, whatever the clock does: the events of a batch keep theirs.
    """
    milliseconds, fraction = divmod(_ticks.next(), 1 << 12)
    return UUID(int=milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | secrets.randbits(62))
