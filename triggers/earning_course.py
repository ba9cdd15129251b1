"""What follows from decisions while they are made: the tier, and the points earned, before each of several events.

The stored ones would be those of the end. They are carried in memory instead, so that decisions that are made again
come to what they would have been on time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from database.earned_points import earned_points
from database.earnings import Stored
from database.returns import returns_of
from database.tiers import Ladder, ladder_by, tier_facts
from domain.earned_amounts import Share
from domain.earned_course import EarnedCourse, paid_by
from domain.earning import Decision, EarningEvent, order_of
from domain.refunds import Frozen
from domain.returns import Returns, gain_of
from domain.tier_course import Earned, TierCourse
from triggers.earning_facts import Grounds, asks_for_points, tiers_before_each


@dataclass(frozen=True, slots=True)
class _Paid:
    """What refunds leave of decisions."""

    returns: Returns
    ladder: Ladder

    def gain(
        self, rule: tuple[int, str], frozen: Frozen, order_id: str | None, customer_id: UUID, at: datetime
    ) -> Earned:
        losses = [] if self.ladder.keeps(*rule) else self.returns.of_points(frozen, order_id, customer_id, at)
        return customer_id, gain_of(frozen, at, losses)

    def of_stored(self, rows: Iterable[Stored]) -> Iterator[Earned]:
        """What decisions paid that are stored."""
        for row in rows:
            if row.is_final:
                rule = (row.version, row.rule)
                yield self.gain(rule, row.frozen, row.order_id, row.customer_id, row.stamp.timestamp)

    def of_new(self, decisions: Iterable[Decision]) -> Iterator[Earned]:
        """What decisions pay that were made just now."""
        for each in decisions:
            if each.is_final:
                rule, event = (each.version, each.rule), each.event
                yield self.gain(rule, _frozen(each), each.order_id, event.customer_id, event.at)


def _frozen(decision: Decision) -> Frozen:
    """What the decision will keep for refunds once it is stored."""
    worth = decision.worth
    shares = [Share(each.product_id, each.sku, each.quantity, each.amount) for each in decision.shares]
    basis, currency = (worth.basis, worth.currency) if worth else (None, None)
    return Frozen(decision.points, basis, currency, shares, decision.changes)


@dataclass(frozen=True, slots=True)
class _Carried:
    """Tiers that follow from what is being decided."""

    paid: _Paid
    course: TierCourse


@dataclass(frozen=True, slots=True)
class Course:
    """`known`: tiers that decisions do not move. The others are None where nothing has to be carried along."""

    known: Mapping[UUID, str | None]
    carried: _Carried | None
    points: EarnedCourse | None

    @property
    def tiers(self) -> Mapping[UUID, str | None]:
        """The tier before each event that a version with tiers decides about, by the event's id."""
        return {**self.known, **self.carried.course.before} if self.carried else self.known

    @property
    def earned(self) -> Mapping[UUID, int] | None:
        """The points earned before each event, by its id; None where nobody asks, or the ledger knows."""
        return self.points.before if self.points else None

    def correct(self, decisions: Sequence[Decision]) -> bool:
        """Follow what was decided; answers whether something else was assumed, so that it must be decided again."""
        carried = self.carried
        is_other_tier = carried is not None and carried.course.correct(carried.paid.of_new(decisions))
        is_other_sum = self.points is not None and self.points.correct(decisions)
        return is_other_tier or is_other_sum


async def course_of(grounds: Grounds, sequence: Sequence[EarningEvent], unweighed: Collection[UUID]) -> Course:
    """`unweighed`: customers whose stored tiers may be past."""
    told = Counter(event.customer_id for event in sequence)
    moving = {id_ for id_, count in told.items() if count > 1 or id_ in unweighed}
    moving |= {row.customer_id for row in grounds.later}
    ladder = ladder_by(grounds.versions, grounds.shop.currency)
    events = [event for event in sequence if grounds.programmes[event.id].definition.tiers is not None]
    carried = [event for event in events if event.customer_id in moving] if ladder and ladder.counts_points else []
    tiers = await _carried(grounds, ladder, carried) if ladder is not None and carried else None
    asked = {event.id for event in carried}
    others = [event for event in events if event.id not in asked]
    known = (
        await tiers_before_each(grounds.session, others, grounds.programmes, ladder, unweighed=moving) if others else {}
    )
    return Course(known, tiers, await _earned_course(grounds, sequence) if moving else None)


async def _carried(grounds: Grounds, ladder: Ladder, events: Sequence[EarningEvent]) -> _Carried:
    orders = {order_of(event) for event in events} | {row.order_id for row in grounds.later}
    named = {order_id for order_id in orders if order_id is not None}
    paid = _Paid(await returns_of(grounds.session, named, grounds.programme), ladder)
    customers = {event.customer_id for event in events}
    facts = await tier_facts(grounds.session, ladder, customers, but=[row.id for row in grounds.later])
    stored = paid.of_stored(row for row in grounds.later if row.customer_id in customers)
    return _Carried(paid, TierCourse(ladder.versions, facts, events, stored))


async def _earned_course(grounds: Grounds, sequence: Sequence[EarningEvent]) -> EarnedCourse | None:
    """None where no condition asks for it."""
    if not any(asks_for_points(each) for each in grounds.versions):
        return None
    customers = {event.customer_id for event in sequence}
    earned = await earned_points(grounds.session, grounds.programme, customers)
    decided = [
        entry
        for row in grounds.later
        if row.is_final
        for entry in paid_by(row.customer_id, row.stamp, row.frozen.first_points, row.frozen.changes)
    ]
    return EarnedCourse(earned, sequence, decided)
