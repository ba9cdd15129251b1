"""Typed identifiers. Ids that we make are uuid7 (RFC 9562): they sort by the time they were made."""

from __future__ import annotations

import secrets
import time
from typing import NewType
from uuid import UUID

CustomerId = NewType("CustomerId", UUID)
EventId = NewType("EventId", UUID)
RunId = NewType("RunId", UUID)
MessageId = NewType("MessageId", UUID)
KeyId = NewType("KeyId", str)
JourneyKey = NewType("JourneyKey", str)
TemplateKey = NewType("TemplateKey", str)


def new_id() -> UUID:
    """A fresh uuid7: 48 bits of Unix milliseconds, then 74 random bits (RFC 9562, section 5.7)."""
    milliseconds = time.time_ns() // 1_000_000
    random = secrets.randbits(74)
    value = (milliseconds & (1 << 48) - 1) << 80 | 0x7 << 76 | (random >> 62) << 64 | 0b10 << 62 | random & (1 << 62) - 1
    return UUID(int=value)
