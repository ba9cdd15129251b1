"""Who would move if other tiers were published: the replay of every customer with a version more. Writes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, union

from database.orders import Order
from database.session import ReadSession
from database.tiers import Ladder, TierOverride, TierStanding, histories
from domain.tier_histories import TierHistory
from domain.tiers import TierRules

MOST_TRIED = 5_000
"""Customers that one request looks at: a replay takes some fractions of a millisecond each."""
_AT_ONCE = 500

Move = tuple[str | None, str | None]


@dataclass(slots=True)
class Trial:
    """Counts of customers. `moves` happen at once, `falls` when periods end and nothing more comes until then."""

    customers: int = 0
    is_sample: bool = False
    now: Counter[str] = field(default_factory=Counter)
    then: Counter[str] = field(default_factory=Counter)
    moves: Counter[Move] = field(default_factory=Counter)
    falls: Counter[Move] = field(default_factory=Counter)
    falls_now: Counter[Move] = field(default_factory=Counter)


async def try_rules(session: ReadSession, ladder: Ladder, tried: TierRules, as_of: datetime) -> Trial:
    """Weigh the customers for whom anything counts by `ladder` and by it with `tried` as its next version."""
    tried = replace(tried, version=max((rules.version for rules in ladder.versions), default=0) + 1, since=as_of)
    with_it = replace(ladder, versions=[*ladder.versions, tried])
    ids = await _candidates(session)
    trial = Trial(customers=min(len(ids), MOST_TRIED), is_sample=len(ids) > MOST_TRIED)
    for start in range(0, trial.customers, _AT_ONCE):
        page = ids[start : start + _AT_ONCE]
        before = await histories(session, ladder, page, as_of) if ladder.versions else {}
        _count(trial, before, await histories(session, with_it, page, as_of), as_of)
    return trial


def _count(
    trial: Trial, before: Mapping[UUID, TierHistory], after: Mapping[UUID, TierHistory], as_of: datetime
) -> None:
    for id_, history in after.items():
        now = before[id_].tier if id_ in before else None
        trial.now[now or ""] += 1
        trial.then[history.tier or ""] += 1
        if now != history.tier:
            trial.moves[now, history.tier] += 1
    for each, told in ((before, trial.falls_now), (after, trial.falls)):
        for history in each.values():
            if (fall := history.fall(as_of)) is not None:
                told[history.tier, fall] += 1


async def _candidates(session: ReadSession) -> list[UUID]:
    """Customers who were weighed, ordered or were given a tier, by id; one more than can be tried tells of others."""
    weighed = select(TierStanding.customer_id)
    ordered = select(Order.customer_id).where(Order.completed_at.is_not(None))
    given = select(TierOverride.customer_id)
    found = union(weighed, ordered, given).subquery()
    statement = select(found.c.customer_id).order_by(found.c.customer_id).limit(MOST_TRIED + 1)
    return list((await session.execute(statement)).scalars())
