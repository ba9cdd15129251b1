"""What an anonymous history earned for one customer, when it turns out to be another's: it is taken back.

The decisions wait as a guest's, and are made again for the other customer once a trusted source says whose they are.
What was decided before that can be decided again (domain/lateness.py) stays with whom it was paid to.
"""

from __future__ import annotations

from datetime import datetime

from database import guest_earnings
from database.histories import earned_by_moved, weigh_again
from database.session import WriteSession
from domain.identity_resolution import Move
from triggers.paying import Due, pay


async def take_earnings_along(session: WriteSession, move: Move, since: datetime, as_of: datetime) -> None:
    """Take back what the moved events earned since a moment. Both customers are locked, and the events have moved."""
    rows = await earned_by_moved(session, move.anonymous_id, move.from_customer, move.to_customer, since)
    for programme in sorted({row.programme for row in rows}):
        dues = [Due.withdrawn(row) for row in rows if row.programme == programme]
        await pay(session, programme, dues, as_of)
    await guest_earnings.wait_for_owner(session, [row.id for row in rows], move.to_customer)
    await weigh_again(session, {move.from_customer, move.to_customer})
