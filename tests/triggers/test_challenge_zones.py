"""What happened keeps its local date, wherever the member or the calendar moves afterwards."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import update

from database.challenge_errands import recount
from database.events import Event
from tests.challenging import completions, progress, put_live, run_errands
from tests.triggers.shop import Shop

DAILY: dict[str, Any] = {
    "challenge": "daily",
    "metric": {"count": "Store Visited"},
    "window": {"every": "day"},
    "levels": [{"level": "there", "at": 1, "badge": {"badge": "there"}}],
    "from": "2026-01-01",
}
STREAK: dict[str, Any] = {
    "challenge": "streak",
    "metric": {"streak": "day", "over": "Store Visited"},
    "levels": [{"level": "three", "at": 3}],
    "from": "2026-01-01",
}
LATE = datetime(2026, 5, 3, 22, 30, tzinfo=UTC)  # 00:30 of the following day in Berlin


async def count_again(shop: Shop, document: dict[str, Any]) -> None:
    async with shop.database.transaction() as session:
        await recount(session, document["challenge"], 1, shop.now)
    await run_errands(shop)


async def test_a_member_who_moves_is_not_given_the_same_visit_in_two_periods(shop: Shop) -> None:
    await put_live(shop, "challenge", DAILY)
    await shop.identify({"timezone": "Europe/Berlin"})
    await shop.track("Store Visited", timestamp=LATE)

    await shop.identify({"timezone": "America/New_York"})
    await count_again(shop, DAILY)

    assert await progress(shop) == {("daily", "2026-05-04"): 1}
    assert [done.period for done in await completions(shop)] == ["2026-05-04"]


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_streak_keeps_its_days_when_the_zone_changes(shop: Shop, *, trusted: bool) -> None:
    """00:30 and 23:30 in Berlin are one day there, and two in Honolulu."""
    await put_live(shop, "challenge", STREAK)
    await shop.identify({"timezone": "Europe/Berlin"})
    for at in (LATE, datetime(2026, 5, 4, 21, 30, tzinfo=UTC)):
        await shop.track("Store Visited", timestamp=at, received_at=at)
    shop.now = datetime(2026, 5, 5, 9, tzinfo=UTC)
    before = await progress(shop)

    await shop.identify({"timezone": "Pacific/Honolulu"}, trusted=trusted)
    await count_again(shop, STREAK)

    assert await progress(shop) == before == {("streak", "ever"): 1}


async def test_what_an_earlier_release_has_routed_keeps_its_date_too_when_the_member_moves(shop: Shop) -> None:
    """It kept no zone with events: they get the one that counts, before it changes."""
    await put_live(shop, "challenge", DAILY)
    await shop.identify({"timezone": "Europe/Berlin"})
    await shop.track("Store Visited", timestamp=LATE)
    async with shop.database.transaction() as session:
        await session.execute(update(Event).values(zone=None))

    await shop.identify({"timezone": "America/New_York"})
    await count_again(shop, DAILY)

    assert [done.period for done in await completions(shop)] == ["2026-05-04"]
