"""When an attempt that a shop put off is made again."""

from __future__ import annotations

from datetime import datetime, timedelta


def next_try(after: float | None, until: datetime, now: datetime) -> timedelta | None:
    """The shop's wish in seconds, but never later than just after the end of trying, so that it is seen then.

    None: it said nothing, and Temporal's back-off decides.
    """
    if not after:
        return None
    return min(timedelta(seconds=after), max(until - now, timedelta()) + timedelta(seconds=1))
