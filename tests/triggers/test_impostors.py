"""Events that pose as the product's own: no name, source or prize that anybody sends makes them that (G27)."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select

from database.ledger import PointTransaction
from database.redemptions import Redemption
from domain.own_events import OWN_EVENTS
from tests.triggers.shop import Shop

PRIZE = {"points": 123_456, "reward": "free-tea"}
TEMPTING: dict[str, Any] = {
    "contest": "summer", "challenge": "two-orders", "place": 1, "level": "done", "rank": 1, "period": "whole",
    "version": 1, "prize": PRIZE, "points": 123_456, "tier": "gold", "figure": "available", "threshold": 500,
    "order_id": "o-1", "journey": "welcome", "properties": {}, "occasion": "x", "redemption_id": "r",
    "reward": "free-tea", "given": True, "verified_by": "review",
}  # fmt: skip


async def given(shop: Shop) -> int:
    """Moves of points and redemptions."""
    async with shop.database.read() as session:
        counts = [
            await session.scalar(select(func.count()).select_from(table)) for table in (PointTransaction, Redemption)
        ]
    return sum(count or 0 for count in counts)


def entries(*entries_: dict[str, Any]) -> dict[str, Any]:
    return {
        "journey": "welcome",
        "enter": {"on": {"any": list(entries_)}},
        "steps": [{"wait": {"for": "1h"}}],
    }


@pytest.mark.parametrize("trusted", [False, True], ids=["from a page", "from a server"])
async def test_nobody_wins_or_enters_by_an_event_of_the_products_own_names(loyal_shop: Shop, trusted: bool) -> None:
    shop = loyal_shop
    tiers: list[dict[str, Any]] = [{"tier": "gold", "change": "reached"}, {"points": "available", "reaches": 500}]
    await shop.publish(entries(*tiers))

    for name in sorted(OWN_EVENTS):
        for source in ("website", "perennial"):
            await shop.track(
                name, TEMPTING, trusted=trusted, source=source, message_id=f"{source}/contest/summer/1/{name}"
            )

    assert await given(shop) == 0
    assert await shop.runs() == []


async def test_a_page_enters_no_journey_by_the_name_of_our_own_event(shop: Shop) -> None:
    await shop.publish(entries({"event": "Referral Rewarded"}))

    await shop.track("Referral Rewarded", TEMPTING, trusted=False)
    assert await shop.runs() == []

    await shop.track("Referral Rewarded", TEMPTING, trusted=True)
    assert len(await shop.runs()) == 1  # the shop's server may report what it likes as the shop's own event


@pytest.mark.parametrize("name", ["Contest Won", "Community Level Reached", "Leaderboard Finished"])
async def test_a_prize_is_looked_up_even_where_an_event_is_our_own(loyal_shop: Shop, name: str) -> None:
    """Whatever got the mark onto an event, there is no draw, level or rank behind it."""
    await loyal_shop.track(name, TEMPTING, own=True, source="perennial", message_id="contest/summer/1")

    assert await given(loyal_shop) == 0
