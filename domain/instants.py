"""Moments as people write them: with their offset, taken as UTC. What they mean in a zone: local_time.py."""

from __future__ import annotations

from datetime import MAXYEAR, MINYEAR, UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, WithJsonSchema


def _in_utc(moment: datetime) -> datetime:
    if not MINYEAR < moment.year < MAXYEAR:
        raise ValueError("that moment is at an end of the calendar: write a year between 2 and 9998")
    return moment.astimezone(UTC)


Instant = Annotated[
    AwareDatetime,
    AfterValidator(_in_utc),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": "^(?!0000|0001|9999)"}),
]
"""A moment that can be stored, and told in every zone: neither would be true of `9999-12-31T23:59:59-14:00`, which is
in the year 10000 of UTC."""
