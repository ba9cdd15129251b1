"""What refunds and cancellations took of orders step by step, each as of when it counts. How much: refunds.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from domain.commerce import OrderFold
from domain.refunds import Frozen, RefundFact, taken_back
from domain.tier_figures import Gain, Loss

TakenBy = Callable[[OrderFold, Sequence[RefundFact]], int]
"""How much some refunds of an order, that nobody cancelled, take together."""


def gain_of(frozen: Frozen, earned_at: datetime, losses: Sequence[Loss]) -> Gain:
    """What a decision paid, with what came back of it. What later edits made of it counts from their own time."""
    edits = [Loss(change.at, -change.by) for change in frozen.changes]
    return Gain(earned_at, frozen.first_points, [*edits, *losses])


@dataclass(frozen=True, slots=True)
class Returns:
    """Orders by their ids, with their refunds, and when and under whose id those that are cancelled were.

    `strangers`: customers with another order of the same id, who take nothing of anybody else's points.
    """

    orders: Mapping[str, OrderFold] = field(default_factory=dict)
    refunds: Mapping[str, Sequence[RefundFact]] = field(default_factory=dict)
    cancelled_at: Mapping[str, datetime] = field(default_factory=dict)
    cancelled_by: Mapping[str, UUID] = field(default_factory=dict)
    strangers: Set[tuple[str, UUID]] = frozenset()

    def of_points(self, frozen: Frozen, order_id: str | None, customer_id: UUID, earned_at: datetime) -> list[Loss]:
        """What was lost of the points that a decision paid."""
        if order_id is None or not (self.refunds.get(order_id) or order_id in self.cancelled_at):
            return []
        order, theirs = self._of(frozen, order_id, customer_id)
        return theirs.of_order(
            order, earned_at, frozen.points, lambda standing, told: taken_back(frozen, standing, told)
        )

    def taken(self, frozen: Frozen, order_id: str, customer_id: UUID) -> int:
        """How many of the points that a decision paid are gone by now."""
        order, theirs = self._of(frozen, order_id, customer_id)
        return taken_back(frozen, order, theirs.refunds[order_id])

    def _of(self, frozen: Frozen, order_id: str, customer_id: UUID) -> tuple[OrderFold, Returns]:
        """The order of a decision, and what came back of it: both without what strangers say."""
        order = self.orders.get(order_id) or frozen.as_order(order_id, customer_id)
        strangers = self.strangers - {(order_id, customer_id)}
        told = [each for each in self.refunds.get(order_id, ()) if (order_id, each.customer_id) not in strangers]
        theirs = replace(self, refunds={order_id: told})
        if (order_id, self.cancelled_by.get(order_id)) in strangers:
            return replace(order, cancelled=False), replace(theirs, cancelled_at={})
        return order, theirs

    def of_order(self, order: OrderFold, since: datetime, whole: int, taken: TakenBy) -> list[Loss]:
        """What was lost of something that counts `since` then, and not before that. `whole`: all of it."""
        standing, lost = replace(order, cancelled=False), 0
        losses: list[Loss] = []
        in_turn = sorted(self.refunds.get(order.order_id, ()), key=lambda refund: (refund.counts_at, refund.stamp))
        for count, refund in enumerate(in_turn, 1):
            gone = taken(standing, in_turn[:count])
            losses.append(Loss(max(refund.counts_at, since), gone - lost))
            lost = gone
        cancelled = self.cancelled_at.get(order.order_id)
        return losses if cancelled is None else [*losses, Loss(max(cancelled, since), whole)]
