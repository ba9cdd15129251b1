"""The doctor recomputes tiers, challenges and referrals from what happened, and finds whatever does not follow."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from database.session import Database
from perennial.doctor import examine
from tests.programmes import publish_programme
from tests.referring import REFERRAL, ReferringShop
from tests.rewarding import publish

CHALLENGES: list[dict[str, Any]] = [
    {
        "challenge": "monthly-spender",
        "metric": {"sum": "properties.total", "over": "Order Completed", "currency": "EUR"},
        "window": {"every": "month"},
        "levels": [{"level": "one", "at": 1_000, "points": 10}],
    },
    {
        "challenge": "visitor",
        "metric": {"streak": "day", "over": ["Store Visited"], "freezes": {"start": 1}},
        "levels": [{"level": "two-days", "at": 2, "points": 5}],
    },
    {
        "challenge": "lately",
        "metric": {"count": "Order Completed"},
        "window": {"rolling": "30d"},
        "levels": [{"level": "twice", "at": 2}],
    },
]


@pytest.fixture
async def shop(database: Database) -> ReferringShop:
    """A shop where everything has happened: a friend was brought and bought, tiers were reached, challenges completed.

    Bob was brought by Ann and ordered; Cid was brought by Bob, and sent his order back.
    """
    shop = ReferringShop(database)
    for document in CHALLENGES:
        await publish(database, "challenge", {**document, "from": "2026-01-01", "zone": "Europe/Berlin"})
    await publish_programme(database, shop.now, referral=REFERRAL)
    await shop.sign_up("ann", "bob", "cid")
    await shop.claim("ann", "bob")
    await shop.claim("bob", "cid")
    shop.later(hours=1)
    await shop.order("bob", "o-1", 50)
    await shop.order("cid", "o-2", 40)
    for _ in range(3):
        shop.later(days=1)
        await shop.track("Store Visited", user_id="bob")
    await shop.refund("cid", "o-2")
    shop.later(days=14)
    await shop.end_holds()
    await shop.order("bob", "o-3", 8)
    await shop.refund("bob", "o-3", 3)
    return shop


async def broken(shop: ReferringShop) -> list[str]:
    verdicts = await examine(shop.database, shop.now, email_per_second=2, provider="smtp")
    return [verdict.promise for verdict in verdicts if not verdict.is_kept]


# The damage, and what must then no longer hold; one on top of the other.
DAMAGES = [
    (
        "UPDATE challenge_progress SET figure = figure + 1 WHERE challenge = 'visitor'",
        "progress equals a recount of events",
    ),
    (
        "INSERT INTO challenge_total_changes (challenge, period, amount) VALUES ('visitor', '2026-05', 1)",
        "the total of all members is the sum of their figures",
    ),
    ("UPDATE challenge_completions SET points = points + 1", "a completion's points are in the ledger"),
    ("UPDATE tier_memberships SET tier = 'gold'", "tiers equal a replay of what counts"),
    ("UPDATE tier_standings SET due_at = '2026-01-01'", "no period has been over for longer than a day"),
    (
        "UPDATE referrals SET due_at = rewarded_at + interval '1 second'",
        "no side is rewarded before the hold is over",
    ),
    ("UPDATE orders SET state = 'cancelled' WHERE order_id = 'o-1'", "an order that is gone qualifies nobody"),
    (
        """UPDATE referrals SET referrer_id = other.referee_id FROM referrals AS other
           WHERE referrals.state = 'rewarded' AND other.state = 'claimed'""",
        "nobody is brought by whom they have brought",
    ),
    ("UPDATE referrals SET referrer_id = referee_id", "nobody has brought themselves"),
    ("UPDATE referrals SET state = 'expired'", "points are paid for referrals that were rewarded"),
]


async def test_nothing_but_what_does_not_follow_from_what_happened_is_found(shop: ReferringShop) -> None:
    assert await shop.states() == ["rewarded", "claimed"]
    assert await broken(shop) == []
    shop.later(days=40)  # the rolling window has passed by itself, and nothing counts it again
    found = await broken(shop)
    assert found == []

    for damage, promise in DAMAGES:
        assert promise not in found
        async with shop.database.transaction() as session:
            await session.execute(text(damage))
        found = await broken(shop)
        assert promise in found
