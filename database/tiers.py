"""Who has had which tier, why and until when: a projection of what was earned, kept by database/tier_weighing.py.

What counts is read by database/tier_gains.py, how tiers follow from it is domain/tier_histories.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, or_, select, text, update
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Json, Table
from database.customers import Customer
from database.programmes import LiveProgramme, live_versions
from database.session import ReadSession, WriteSession
from database.shop_settings import shop_settings
from database.tier_gains import gains_of
from domain.opening_rows import OPENING
from domain.programmes.definition import Level
from domain.tier_course import TierFacts, tier_at
from domain.tier_histories import Evidence, Override, TierHistory
from domain.tiers import Measure, TierRules, tier_rules


class TierMembership(Table):
    """A tier (null: none) that a customer had from one moment up to, and without, another."""

    __tablename__ = "tier_memberships"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))
    programme: Mapped[str]
    tier: Mapped[str | None]
    from_at: Mapped[datetime]
    until_at: Mapped[datetime | None]
    reason: Mapped[str]  # domain.tier_histories.TierReason
    version: Mapped[int]  # of the programme
    evidence: Mapped[Json]  # figure, threshold, start; empty for what a person decided
    decided_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint("until_at > from_at", name="takes_time"),
        Index("ix_tier_memberships_customer", "customer_id", "from_at"),
    )


class TierStanding(Table):
    """Where a customer stands now, and when time alone may change it. Whoever has no row stands at the lowest level."""

    __tablename__ = "tier_standings"

    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"), primary_key=True)
    programme: Mapped[str]
    tier: Mapped[str | None]
    version: Mapped[int]  # of the programme, by which it was weighed
    due_at: Mapped[datetime | None]
    weighed_at: Mapped[datetime]

    __table_args__ = (
        Index("ix_tier_standings_due", "due_at", "customer_id", postgresql_where=text("due_at IS NOT NULL")),
    )


class TierOverride(Table):
    """A tier that a person gave, with the reason, until its end or until it was taken away."""

    __tablename__ = "tier_overrides"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"), index=True)
    programme: Mapped[str]
    tier: Mapped[str]
    from_at: Mapped[datetime]
    until_at: Mapped[datetime | None]
    removed_at: Mapped[datetime | None]
    reason: Mapped[str]
    author: Mapped[str]  # the key; OPENING for what was moved in
    removal: Mapped[str | None]  # why it was taken away


class TierSweep(Table):
    """A version of the programme whose tiers everybody has been weighed by."""

    __tablename__ = "tier_sweeps"

    programme: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    done_at: Mapped[datetime]


@dataclass(frozen=True, slots=True)
class Ladder:
    """The live programme's tiers: all versions of their rules, the oldest first, and the events that earn points."""

    programme: str
    versions: Sequence[TierRules]
    earning_events: frozenset[str] = frozenset()
    levels: Mapping[str, Level] = field(default_factory=dict)  # of the rules in force, as they are written
    kept: Mapping[int, frozenset[str]] = field(default_factory=dict)  # by version: rules with `clawback: keep`

    @property
    def counts_points(self) -> bool:
        """Whether what rules pay moves tiers, by any version."""
        return any(rules.measured.measure is Measure.POINTS for rules in self.versions)

    def keeps(self, version: int, rule: str) -> bool:
        """Whether customers keep the points of a rule, by the version that decided; by the latest, if that is old."""
        known = self.kept.get(version)
        return rule in (self.kept.get(max(self.kept, default=0), frozenset()) if known is None else known)

    @property
    def rules(self) -> TierRules:
        """Those in force."""
        return self.versions[-1]


async def ladder_of(session: ReadSession) -> Ladder | None:
    """The tiers of the live programme; None without one, or where its live version has no tiers."""
    versions = await live_versions(session)
    return ladder_by(versions, (await shop_settings(session)).currency) if versions else None


def ladder_by(versions: Sequence[LiveProgramme], currency: str) -> Ladder | None:
    """The same from the programme's versions, the oldest first. `currency`: the shop's."""
    if not versions or versions[-1].definition.tiers is None:
        return None
    rules = [rules for version in versions if (rules := _rules(version, currency))]
    rules = [*_past_rules(versions, rules, currency), *rules]
    earning = frozenset(rule.on.event for rule in versions[-1].definition.earn)
    levels = {level.tier: level for level in versions[-1].definition.tiers.levels}
    return Ladder(versions[-1].key, rules, earning, levels, {each.version: _kept(each) for each in versions})


def _kept(live: LiveProgramme) -> frozenset[str]:
    definition = live.definition
    return frozenset(rule.rule for rule in definition.earn if (rule.clawback or definition.clawback) == "keep")


def _rules(live: LiveProgramme, currency: str) -> TierRules | None:
    return tier_rules(live.definition, live.version, live.published_at, live.zone, currency)


def _past_rules(versions: Sequence[LiveProgramme], rules: Sequence[TierRules], currency: str) -> list[TierRules]:
    """What tiers were judged by before the first publication, where history of that time earns: the latest version that
    says so."""
    past = next((version for version in reversed(versions) if version.history_since is not None), None)
    found = _rules(past, currency) if past is not None else None
    if past is None or found is None or past.history_since is None or past.history_since >= rules[0].since:
        return []
    return [replace(found, since=past.history_since)]


# Reading ------------------------------------------------------------------------------------------------


async def tiers_of(session: ReadSession, ids: Collection[UUID], at: datetime) -> dict[UUID, str | None]:
    """The tier of each customer at a moment, settled up to it: a period that has ended counts as ended."""
    ladder = await ladder_of(session)
    found = await _tiers(session, ladder, {(id_, at) for id_ in ids}, frozenset(), inclusive=True)
    return {id_: tier for (id_, _), tier in found.items()}


Moment = tuple[UUID, datetime]
"""A customer, and a time of theirs."""


async def tiers_before(
    session: ReadSession, ladder: Ladder | None, moments: Collection[Moment], *, unweighed: Collection[UUID] = ()
) -> dict[Moment, str | None]:
    """Each customer's tier as it was just before a moment: what happens then does not count yet.

    `unweighed`: what counts for these may have changed since they were weighed.
    """
    return await _tiers(session, ladder, moments, unweighed, inclusive=False)


async def _tiers(
    session: ReadSession,
    ladder: Ladder | None,
    moments: Collection[Moment],
    unweighed: Collection[UUID],
    *,
    inclusive: bool,
) -> dict[Moment, str | None]:
    if ladder is None or not moments:
        return dict.fromkeys(moments)
    known = await known_tiers(session, ladder, {id_ for id_, _ in moments})
    unsettled = {id_ for id_, at in moments if (due := known[id_].due) is not None and due <= at}
    unsettled |= known.keys() & set(unweighed)
    settled = await histories(session, ladder, unsettled, max(at for _, at in moments))
    changes: dict[UUID, list[tuple[datetime, str | None]]] = {
        id_: [(row.from_at, row.tier) for row in each.memberships] for id_, each in known.items()
    }
    changes |= {id_: [(change.at, change.tier) for change in each.changes] for id_, each in settled.items()}
    return {(id_, at): tier_at(ladder.versions, changes[id_], at, inclusive=inclusive) for id_, at in moments}


@dataclass(slots=True)
class KnownTiers:
    """What is stored about one customer's tiers, the oldest first; whoever was never weighed has no standing."""

    memberships: list[TierMembership] = field(default_factory=list)
    standing: TierStanding | None = None

    @property
    def due(self) -> datetime | None:
        """When time alone may change something."""
        return self.standing.due_at if self.standing else None


async def known_tiers(session: ReadSession, ladder: Ladder, ids: Collection[UUID]) -> dict[UUID, KnownTiers]:
    """What is stored about customers. Relies on ix_tier_memberships_customer and pk_tier_standings."""
    found = {id_: KnownTiers() for id_ in ids}
    standings = select(TierStanding).where(TierStanding.customer_id.in_(ids))
    for row in (await session.execute(standings)).scalars():
        if row.programme == ladder.programme:
            found[row.customer_id].standing = row
    for membership in await memberships_of(session, ladder.programme, ids):
        found[membership.customer_id].memberships.append(membership)
    return found


async def memberships_of(session: ReadSession, programme: str, ids: Collection[UUID]) -> Sequence[TierMembership]:
    """The stored histories of customers, the oldest first."""
    statement = (
        select(TierMembership)
        .where(TierMembership.customer_id.in_(ids), TierMembership.programme == programme)
        .order_by(TierMembership.from_at)
    )
    return (await session.execute(statement)).scalars().all()


def evidence_of(row: TierMembership) -> Evidence | None:
    """The figures by which a membership was decided; None for what a person decided."""
    if not row.evidence:
        return None
    start = row.evidence["start"]
    return Evidence(row.evidence["figure"], row.evidence["threshold"], datetime.fromisoformat(start) if start else None)


async def overrides_of(session: ReadSession, programme: str, ids: Collection[UUID]) -> Sequence[TierOverride]:
    """What people decided, the oldest first."""
    statement = (
        select(TierOverride)
        .where(TierOverride.customer_id.in_(ids), TierOverride.programme == programme)
        .order_by(TierOverride.from_at, TierOverride.id)
    )
    return (await session.execute(statement)).scalars().all()


async def give_override(session: WriteSession, override: TierOverride) -> None:
    """Let a person's decision hold from its beginning on, in place of an earlier one. The caller weighs."""
    await end_overrides(session, override.programme, override.customer_id, override.from_at, removal=override.reason)
    session.add(override)
    await session.flush()


async def end_overrides(
    session: WriteSession, programme: str, customer_id: UUID, as_of: datetime, *, removal: str
) -> None:
    """End what people decided for a customer. The caller weighs."""
    statement = update(TierOverride).where(
        TierOverride.programme == programme,
        TierOverride.customer_id == customer_id,
        TierOverride.removed_at.is_(None),
        or_(TierOverride.until_at.is_(None), TierOverride.until_at > as_of),
    )
    await session.execute(statement.values(removed_at=as_of, removal=removal))


async def histories(
    session: ReadSession, ladder: Ladder, ids: Collection[UUID], as_of: datetime
) -> dict[UUID, TierHistory]:
    """The histories of customers up to a moment, replayed from what counts; nothing is written."""
    facts = await tier_facts(session, ladder, ids)
    return {id_: each.history(ladder.versions, as_of) for id_, each in facts.items()}


async def tier_facts(
    session: ReadSession, ladder: Ladder, ids: Collection[UUID], *, but: Collection[UUID] = ()
) -> dict[UUID, TierFacts]:
    """What the tiers of customers follow from. `but`: without what these decisions paid."""
    if not ids:
        return {}
    joined = dict((await session.execute(select(Customer.id, Customer.first_seen).where(Customer.id.in_(ids)))).all())
    measures = {rules.measured for rules in ladder.versions}
    gains = await gains_of(session, ladder.programme, joined, measures, keeps=ladder.keeps, but=but)
    overrides: dict[UUID, list[Override]] = {}
    for row in await overrides_of(session, ladder.programme, joined):
        ends = [end for end in (row.until_at, row.removed_at) if end is not None]
        override = Override(row.tier, row.from_at, min(ends, default=None), is_least=row.author == OPENING)
        overrides.setdefault(row.customer_id, []).append(override)
    return {id_: TierFacts(joined_at, gains[id_], overrides.get(id_, ())) for id_, joined_at in joined.items()}
