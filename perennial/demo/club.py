"""What members of the nursery's club get for their petals, and what they are challenged to."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any  # documents are any JSON

from perennial.demo.catalogue import CURRENCY
from perennial.demo.history import MONTHS

Document = dict[str, Any]


def club(now: datetime) -> dict[str, list[Document]]:
    """The documents by kind; `now` (aware) is when the club opens, and its past counts."""
    return {"rewards": _REWARDS, "challenges": _challenges(now - timedelta(days=MONTHS * 31))}


_REWARDS: list[Document] = [
    {
        "reward": "free-shipping",
        "name": "Free shipping",
        "gives": {"free_shipping": True},
        "price": [{"if": {"tier": {"at_least": "gold"}}, "points": 50}, {"points": 100}],
        "codes": {"prefix": "SHIP-", "length": 8},
        "lasts": "30d",
    },
    {
        "reward": "five-off",
        "name": "Five euros off",
        "gives": {"amount": {"amount": 500, "currency": CURRENCY}},
        "price": [{"points": 400}],
        "minimum": {"amount": 2_000, "currency": CURRENCY},
        "codes": {"prefix": "FIVE-", "length": 8},
        "lasts": "60d",
    },
    {
        "reward": "rose-gloves",
        "name": "A pair of rose gloves",
        "gives": {"gift": "tool-gloves"},
        "price": [{"points": 900}],
        "stock": 25,
        "limit": {"per_customer": 1},
        "eligible": {"if": {"tier": {"at_least": "silver"}}, "reason": "For silver and gold members."},
    },
]


def _challenges(since: datetime) -> list[Document]:
    return [
        {
            "challenge": "green-thumb",
            "name": "Green thumb",
            "metric": {"count": "Order Completed"},
            "from": since.isoformat(),
            "levels": [
                {"level": "sprout", "at": 1, "badge": {"badge": "sprout", "name": "Sprout"}},
                {"level": "sapling", "at": 4, "points": 50, "badge": {"badge": "sapling", "name": "Sapling"}},
                {"level": "oak", "at": 8, "points": 150, "badge": {"badge": "oak", "name": "Oak"}},
            ],
            "refunds": "uncount",
        },
        {
            "challenge": "critic",
            "name": "Critic of the month",
            "metric": {"distinct": "properties.product_id", "over": "Product Reviewed"},
            "window": {"every": "month"},
            "levels": [{"level": "three-reviews", "at": 3, "points": 60}],
            "leaderboard": {"ties": "shared"},
        },
    ]
