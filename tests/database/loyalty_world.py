"""Points and tiers for the random customers of condition_world.py, stored and as the evaluator in memory sees them."""

from __future__ import annotations

from datetime import datetime
from random import Random
from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from sqlalchemy import insert

from database.ledger import PointBalance, PointLot, PointTransaction
from database.session import WriteSession
from database.tiers import TierMembership
from domain.conditions.history import Loyalty, PastLot, PastTier

_ORIGINAL = 200
LEVELS = {"bronze": 0, "silver": 500, "gold' --": 2_000}
TIERS = {
    "measure": {"points": "earned", "window": {"rolling": "12mo"}},
    "levels": [{"tier": tier, "from": threshold} for tier, threshold in LEVELS.items()],
}


def loyalty_of(random: Random, moments: list[datetime]) -> Loyalty:
    """Somebody's part in the programme; often none."""
    if random.random() < 0.3:
        return Loyalty(levels=LEVELS)
    changes = sorted(random.sample(moments, random.randrange(4)))
    ends = [*changes[1:], None]
    return Loyalty(
        levels=LEVELS,
        tiers=[
            PastTier(random.choice([*LEVELS, "gone", None]), start, end)
            for start, end in zip(changes, ends, strict=False)
        ],
        lots=[
            PastLot(
                remaining=random.randrange(1, 200),
                is_pending=random.random() < 0.4,
                activates_at=random.choice([None, *moments]),
                expires_at=random.choice([None, *moments]),
            )
            for _ in range(random.randrange(4))
        ],
        deficit=random.choice([0, 0, 50]),
        earned=random.randrange(1_000),
        spent=random.randrange(300),
    )


async def store_loyalty(session: WriteSession, customer_id: UUID, loyalty: Loyalty) -> None:
    """The rows of the programme `main`. Every second lot was given: that is issued and not earned."""
    given = _ORIGINAL * (len(loyalty.lots) // 2)
    balance = {"issued": -loyalty.earned - given, "redeemed": loyalty.spent, "deficit": loyalty.deficit}
    await session.execute(insert(PointBalance).values(programme="main", account=customer_id, **balance))
    for position, lot in enumerate(loyalty.lots):
        id_ = UUID(int=customer_id.int ^ (position << 40))
        await session.execute(insert(PointTransaction).values(_transaction(customer_id, id_, position)))
        await session.execute(insert(PointLot).values(_lot(customer_id, id_, position, lot)))
    for position, past in enumerate(loyalty.tiers):
        await session.execute(
            insert(TierMembership).values(
                id=UUID(int=customer_id.int ^ (position << 40)),
                customer_id=customer_id,
                programme="main",
                tier=past.tier,
                from_at=past.start,
                until_at=past.end,
                reason="qualified",
                version=1,
                evidence={},
                decided_at=past.start,
            )
        )


def _transaction(customer_id: UUID, id_: UUID, position: int) -> dict[str, Any]:
    at = datetime.fromisoformat("2026-01-01T00:00:00Z")
    return {
        "id": id_,
        "programme": "main",
        "account": customer_id,
        "number": position + 1,
        "key": id_.bytes,
        "fingerprint": b"",
        "kind": "earn",
        "points": 1,
        "source": "test",
        "effective_at": at,
        "recorded_at": at,
        "answer": {},
    }


def _lot(customer_id: UUID, id_: UUID, position: int, lot: PastLot) -> dict[str, Any]:
    return {
        "id": id_,
        "programme": "main",
        "account": customer_id,
        "origin": id_,
        "transaction_id": id_,
        "kind": "award" if position % 2 else "earn",
        "source": "test",
        "original": _ORIGINAL,
        "remaining": lot.remaining,
        "number": position + 1,
        "earned_at": datetime.fromisoformat("2026-01-01T00:00:00Z"),
        "activates_at": lot.activates_at,
        "expires_at": lot.expires_at,
        "is_pending": lot.is_pending,
    }


_tiers = st.sampled_from([*LEVELS, "gone", "x"])


def loyalty_leaves(
    figures: st.SearchStrategy[dict[str, Any]], periods: st.SearchStrategy[str]
) -> dict[str, st.SearchStrategy[dict[str, Any]]]:
    """Conditions on points and tiers; `figures` are comparisons of numbers."""
    compared = figures.map(lambda one: {key: value for key, value in one.items() if key != "case"})
    counts = st.one_of(
        compared,
        st.integers(-60, 300).map(lambda count: {"gte": count}),
        st.integers(-60, 300).map(lambda count: {"eq": count}),
    )
    return {
        "points": st.one_of(
            st.builds(
                lambda figure, one: {"points": figure, **one},
                st.sampled_from(["available", "pending", "earned", "spent"]),
                counts,
            ),
            st.builds(lambda period, one: {"points": "expiring", "within": period, **one}, periods, counts),
        ),
        "tier": st.one_of(
            _tiers.map(lambda tier: {"tier": tier}), _tiers.map(lambda tier: {"tier": {"at_least": tier}})
        ),
    }
