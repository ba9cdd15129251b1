"""Bringing stored tiers up to date: after what customers did, when time alone changes them, when the rules change."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import takewhile
from typing import Any
from uuid import UUID

from sqlalchemy import delete, exists, insert, or_, select, union, update
from sqlalchemy.dialects import postgresql

from database.announcements import Announcement, announce
from database.orders import Order
from database.session import ReadSession, WriteSession
from database.tiers import (
    KnownTiers,
    Ladder,
    TierMembership,
    TierStanding,
    TierSweep,
    histories,
    known_tiers,
)
from domain.ids import new_id
from domain.tier_events import TIER_LEFT, TIER_REACHED
from domain.tier_histories import Change, Evidence, TierHistory
from domain.tiers import Measure, TierRules


async def weigh(
    session: WriteSession, ladder: Ladder, ids: Collection[UUID], as_of: datetime, *, quiet: Collection[UUID] = ()
) -> None:
    """Bring the tiers of customers, whom the caller has locked, up to date, and announce who rose or fell.

    It never goes back behind what was weighed before. `quiet`: nothing is announced about these, since what happened to
    them is imported history.
    """
    known = await known_tiers(session, ladder, ids)
    as_of = max([as_of, *(each.standing.weighed_at for each in known.values() if each.standing)])
    replayed = await histories(session, ladder, ids, as_of)
    weighed = [_Weighed(id_, known[id_], history) for id_, history in sorted(replayed.items())]
    for each in weighed:
        await _write_memberships(session, ladder, each, as_of)
    await _write_standings(session, ladder, weighed, as_of)
    told = [told for each in weighed if each.customer_id not in quiet for told in _moves(ladder, each)]
    await announce(session, told, as_of)


@dataclass(frozen=True, slots=True)
class _Weighed:
    """A customer with what was stored, and what turns out to be true."""

    customer_id: UUID
    known: KnownTiers
    history: TierHistory


async def _write_memberships(session: WriteSession, ladder: Ladder, weighed: _Weighed, as_of: datetime) -> None:
    """Keep what is still true and replace the rest: a late event can show that the past was another."""
    stored, changes = weighed.known.memberships, weighed.history.changes
    kept = sum(1 for _ in takewhile(lambda pair: _is(*pair), zip(stored, changes, strict=False)))
    if kept == len(stored) == len(changes):
        return
    gone = [membership.id for membership in stored[kept:]]
    await session.execute(delete(TierMembership).where(TierMembership.id.in_(gone)))
    if kept:
        until = changes[kept].at if kept < len(changes) else None
        last = update(TierMembership).where(TierMembership.id == stored[kept - 1].id)
        await session.execute(last.values(until_at=until))
    ends = [*(change.at for change in changes[kept + 1 :]), None]
    rows = [
        {
            "id": new_id(),
            "customer_id": weighed.customer_id,
            "programme": ladder.programme,
            "tier": change.tier,
            "from_at": change.at,
            "until_at": until,
            "reason": change.reason,
            "version": change.version,
            "evidence": _written(change.evidence),
            "decided_at": as_of,
        }
        for change, until in zip(changes[kept:], ends, strict=False)
    ]
    if rows:
        await session.execute(insert(TierMembership), rows)


def _is(row: TierMembership, change: Change) -> bool:
    return (row.from_at, row.tier, row.reason) == (change.at, change.tier, change.reason)


def _written(evidence: Evidence | None) -> dict[str, Any]:  # JSON
    if evidence is None:
        return {}
    return asdict(evidence) | {"start": evidence.start.isoformat() if evidence.start else None}


async def _write_standings(session: WriteSession, ladder: Ladder, weighed: Sequence[_Weighed], as_of: datetime) -> None:
    rows = [
        {
            "customer_id": each.customer_id,
            "programme": ladder.programme,
            "tier": each.history.tier,
            "version": ladder.rules.version,
            "due_at": each.history.due,
            "weighed_at": as_of,
        }
        for each in weighed
    ]
    if rows:
        statement = postgresql.insert(TierStanding)
        changed = {name: statement.excluded[name] for name in rows[0] if name != "customer_id"}
        await session.execute(statement.on_conflict_do_update(index_elements=["customer_id"], set_=changed), rows)


def _moves(ladder: Ladder, weighed: _Weighed) -> Iterator[Announcement]:
    """Rising reaches the new tier, falling leaves the old one; several moves at once are told as one."""
    rules, history, customer_id = ladder.rules, weighed.history, weighed.customer_id
    standing = weighed.known.standing
    before = standing.tier if standing else rules.tier(rules.base)
    if not history.changes or history.tier == before:
        return
    last = history.changes[-1]
    natural = f"tier/{ladder.programme}/{customer_id}/{last.at.isoformat()}/{last.tier}"
    why = {"programme": ladder.programme, "reason": last.reason, "at": last.at.isoformat()}
    if _rank(rules, history.tier) > _rank(rules, before):
        properties = {"tier": history.tier, "from": before, **why, **_shown(ladder, history.tier)}
        yield Announcement(customer_id, TIER_REACHED, natural, properties)
    else:
        properties = {"tier": before, "to": history.tier, **why}
        yield Announcement(customer_id, TIER_LEFT, natural, properties)


def _shown(ladder: Ladder, tier: str | None) -> dict[str, Any]:  # JSON
    """What a message says of a tier: its name and what it brings."""
    level = ladder.levels.get(tier or "")
    return {} if level is None else {"name": level.name, "benefits": level.benefits}


def _rank(rules: TierRules, tier: str | None) -> int:
    """The place of a tier; one that the rules no longer know was below the others."""
    rank = rules.rank_of(tier)
    return -1 if rank is None else rank


# Who is due ---------------------------------------------------------------------------------------------


async def due_by_time(session: ReadSession, as_of: datetime, limit: int) -> Sequence[UUID]:
    """Customers whose period, grace or override has ended. Relies on ix_tier_standings_due."""
    statement = (
        select(TierStanding.customer_id)
        .where(TierStanding.due_at <= as_of)
        .order_by(TierStanding.due_at, TierStanding.customer_id)
        .limit(limit)
    )
    return (await session.execute(statement)).scalars().all()


async def due_among(session: ReadSession, ids: Collection[UUID], as_of: datetime) -> Sequence[UUID]:
    """The same among these customers. Relies on pk_tier_standings."""
    statement = select(TierStanding.customer_id).where(TierStanding.customer_id.in_(ids), TierStanding.due_at <= as_of)
    return (await session.execute(statement)).scalars().all()


async def is_swept(session: ReadSession, ladder: Ladder) -> bool:
    """Whether everybody has been weighed by the rules in force."""
    return await session.get(TierSweep, (ladder.programme, ladder.rules.version)) is not None


async def sweep_is_done(session: WriteSession, ladder: Ladder, as_of: datetime) -> None:
    """Remember that everybody has been weighed by the rules in force. Repeatable."""
    done = {"programme": ladder.programme, "version": ladder.rules.version, "done_at": as_of}
    await session.execute(postgresql.insert(TierSweep).values(done).on_conflict_do_nothing())


async def due_by_rules(session: ReadSession, ladder: Ladder, after: UUID | None, limit: int) -> Sequence[UUID]:
    """Customers after `after`, by id, who were not weighed by the rules in force, and for whom something may count.

    Walks through pk_tier_standings and, where orders count, ix_orders_customer; once for each version.
    """
    others = or_(TierStanding.programme != ladder.programme, TierStanding.version != ladder.rules.version)
    statements = [select(TierStanding.customer_id).where(others)]
    if any(rules.measured.measure is not Measure.POINTS for rules in ladder.versions):
        unknown = ~exists().where(TierStanding.customer_id == Order.customer_id)
        statements.append(select(Order.customer_id).where(Order.completed_at.is_not(None), unknown))
    found = union(*statements).subquery()
    statement = select(found.c.customer_id).order_by(found.c.customer_id).limit(limit)
    if after is not None:
        statement = statement.where(found.c.customer_id > after)
    return (await session.execute(statement)).scalars().all()
