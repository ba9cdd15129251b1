"""What time does to challenges and contests: goals reached together, final ranks, lists that freeze, prizes due."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from database import challenge_totals
from database.challenge_errands import find_errands, run_errand
from database.contest_draws import freeze_closed, give_due
from database.leaderboard_closing import close_some, find_ended
from database.session import Database, WriteSession
from database.waiting_prizes import pay_waiting

Page = Callable[[WriteSession, datetime], Awaitable[int | bool]]
"""Does one page of a job in the caller's transaction; answers nothing when there is no more to do."""


async def close_periods(database: Database, as_of: datetime, heartbeat: Callable[[], None]) -> int:
    """All that is due, page by page, so that it can be broken off; answers how many pages there were."""
    async with database.transaction() as session:
        await session.take_long()
        await find_errands(session, as_of)
        await find_ended(session, as_of)
    pages = 0
    for page in (challenge_totals.add_up, close_some, run_errand, freeze_closed, give_due, pay_waiting):
        pages += await _all(database, page, as_of, heartbeat)
    return pages


async def _all(database: Database, page: Page, as_of: datetime, heartbeat: Callable[[], None]) -> int:
    count = 0
    while True:
        async with database.transaction() as session:
            await session.take_long()
            if not await page(session, as_of):
                return count
        count += 1
        heartbeat()
