"""Forgetting what nobody asks for any more, page by page, each page one transaction."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict
from temporalio import activity

from database.entries import forget_decisions
from database.session import Database
from database.shop_settings import shop_settings

PAGE = 5_000
PAGES_AT_ONCE = 200


class ForgetInput(BaseModel):
    """The time that ages are counted from."""

    model_config = ConfigDict(frozen=True)

    as_of: datetime


class RetentionActivities:
    """What upkeep removes because its time is over."""

    def __init__(self, database: Database, *, page: int = PAGE) -> None:
        self._database = database
        self._page = page

    @activity.defn
    async def forget_decisions(self, asked: ForgetInput) -> int:
        """Forget why people did not enter journeys, as old as the shop says. Answers how many; the rest comes later."""
        forgotten = 0
        for _ in range(PAGES_AT_ONCE):
            async with self._database.transaction() as session:
                await session.take_long()
                before = (await shop_settings(session)).decisions_kept_since(asked.as_of)
                page = await forget_decisions(session, before, self._page)
            forgotten += page
            if page < self._page:
                break
            if activity.in_activity():
                activity.heartbeat()
        return forgotten
