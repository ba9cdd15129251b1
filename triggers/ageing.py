"""The loop that forgets what is over its time by the shop's settings, a page at a time, one router at a time.

It stands in the router because people who are forgotten are erased like everybody, and the router requests that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from prometheus_client import Counter
from sqlalchemy.exc import SQLAlchemyError

from database import ageing
from database.ageing import Page
from database.session import Database
from database.shop_settings import shop_settings
from domain.retention import Class
from triggers.erasures import request_erasure

log = structlog.get_logger(__name__)

FORGOTTEN = Counter("perennial_forgotten", "Rows and people forgotten because their time was over, by class", ["kind"])

EVERY: Final = timedelta(minutes=10)
BY = "retention"
"""Who asks for these erasures."""

_PAGE = 2_000
_PAGES_AT_ONCE = 200
_PEOPLE_AT_ONCE = 500
_BREATH_SECONDS = 0.05
"""Between two pages, so that routing gets its turn."""


class Keeper:
    """Looks every ten minutes; what one look does not reach the next goes on with."""

    def __init__(self, database: Database, *, page: int = _PAGE, now: Callable[[], datetime] | None = None) -> None:
        self._database = database
        self._page = page
        self._now = now or _utc_now

    async def run(self, stop: asyncio.Event) -> None:
        """Look until told to stop."""
        while not stop.is_set():
            try:
                await self.look(stop)
            except (SQLAlchemyError, OSError):
                log.exception("what is over its time could not be forgotten")
            try:
                async with asyncio.timeout(EVERY.total_seconds()):
                    await stop.wait()
            except TimeoutError:
                continue

    async def look(self, stop: asyncio.Event | None = None) -> dict[Class, int]:
        """Forget by the settings as they are now; answers how many rows or people of each class."""
        as_of = self._now()
        async with self._database.read() as session:
            kept = (await shop_settings(session)).retention.kept_since(as_of)
        done = dict.fromkeys(kept, 0)
        for what, since in kept.items():
            for _ in range(_PAGES_AT_ONCE):
                page = await self._page_of(what, since, as_of)
                done[what] += page.count
                FORGOTTEN.labels(what.value).inc(page.count)
                if page.is_last or (stop is not None and stop.is_set()):
                    break
                if what not in ageing.ROWS and done[what] >= _PEOPLE_AT_ONCE:
                    break
                await asyncio.sleep(_BREATH_SECONDS)
        return done

    async def _page_of(self, what: Class, since: datetime, as_of: datetime) -> Page:
        if what not in ageing.ROWS:
            return await self._people(what, since, as_of)
        async with self._database.transaction() as session:
            if not await ageing.take_turn(session):
                return Page(0, None, is_last=True)
            return await ageing.forget_page(session, what, since, self._page, as_of)

    async def _people(self, what: Class, since: datetime, as_of: datetime) -> Page:
        """Request the erasure of a stretch of people, each in a transaction of its own."""
        async with self._database.read() as session:
            due, reached = await ageing.unseen(session, what, since, self._page)
        for customer_id in due:
            async with self._database.transaction() as session:
                if await ageing.is_unseen(session, customer_id, since):
                    await request_erasure(session, customer_id, by=BY, as_of=as_of)
        page = Page(len(due), reached, is_last=reached is None)
        async with self._database.transaction() as session:
            await ageing.note_page(session, what, page, as_of)
        return page


def _utc_now() -> datetime:
    return datetime.now(UTC)
