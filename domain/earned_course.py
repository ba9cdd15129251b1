"""What a customer had earned before each of several events that are decided in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from domain.earned_edits import Change
from domain.earning import Decision, EarningEvent
from domain.identities import Stamp

Paid = tuple[UUID, Stamp, int]
"""A customer, when, and how many points."""


def paid_by(customer_id: UUID, stamp: Stamp, points: int, changes: Iterable[Change]) -> list[Paid]:
    """What a decision paid, and what later edits made of that from their own time on."""
    return [(customer_id, stamp, points), *((customer_id, Stamp.before(edit.at), edit.by) for edit in changes)]


class EarnedCourse:
    """`before`: the points earned before each event, by its id; first by what was decided earlier.

    `earned`: what each customer has earned by now, with what was `decided` about the events then.
    """

    def __init__(self, earned: Mapping[UUID, int], events: Sequence[EarningEvent], decided: Sequence[Paid]) -> None:
        self._events = sorted(events, key=lambda event: event.stamp)
        self._start = dict(earned)
        for customer_id, _, points in decided:
            self._start[customer_id] -= points
        self.before = self._before(decided)

    def correct(self, decisions: Iterable[Decision]) -> bool:
        """Follow what was decided now; answers whether it shows other points before an event than were assumed."""
        paid = [
            entry
            for each in decisions
            for entry in paid_by(each.event.customer_id, each.event.stamp, each.first_points, each.changes)
        ]
        assumed, self.before = self.before, self._before(paid)
        return self.before != assumed

    def _before(self, paid: Sequence[Paid]) -> dict[UUID, int]:
        found: dict[UUID, int] = {}
        so_far = dict(self._start)
        queue = sorted(paid, key=lambda each: each[1], reverse=True)
        for event in self._events:
            while queue and queue[-1][1] < event.stamp:
                customer_id, _, points = queue.pop()
                so_far[customer_id] += points
            found[event.id] = so_far[event.customer_id]
        return found
