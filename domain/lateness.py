"""How long what was decided about an event may be decided again, because something came late."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

LATE: Final = timedelta(hours=24)
"""Events that come later than this after they happened are decided as if they happened when they came."""


def counts_at(timestamp: datetime, as_of: datetime, *, history_since: datetime | None = None) -> tuple[datetime, bool]:
    """When an event counts that comes now, and whether it is too late to count when it happened.

    `history_since`: of imported history, from when on it counts when it happened, however long ago that is.
    """
    is_late = as_of - timestamp > LATE and (history_since is None or timestamp < history_since)
    return (as_of if is_late else timestamp), is_late


def returned_at(timestamp: datetime, received_at: datetime, *, is_history: bool) -> datetime:
    """When a refund or cancellation counts: when it happened, but live ones that came later than that at their receipt.

    Unlike what is decided about an event, that is known of it whenever it is asked for.
    """
    return received_at if not is_history and received_at - timestamp > LATE else timestamp


def open_since(timestamp: datetime, as_of: datetime) -> datetime:
    """From when on an event that joins or parts customers reopens what was decided about them.

    Whatever could have come after it, had both come in time; everything earlier was decided before it in any order.
    """
    return counts_at(timestamp, as_of)[0] - LATE
