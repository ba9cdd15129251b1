"""The tiers that customers have before each of several events, while what those events earn is being decided.

What is decided for one event may lift the tier before the next, so tiers and decisions are worked out together and in
memory. Each correction leaves at least one more event of a customer as it is, so that it comes to an end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from domain.earning import EarningEvent
from domain.tier_figures import Gain
from domain.tier_histories import Gains, Override, TierHistory, tier_history
from domain.tiers import Measure, TierRules

Earned = tuple[UUID, Gain]
"""A customer, and what a decision pays them."""


@dataclass(frozen=True, slots=True)
class TierFacts:
    """What the tiers of one customer follow from."""

    joined_at: datetime
    gains: Gains
    overrides: Sequence[Override] = ()

    def history(self, versions: Sequence[TierRules], as_of: datetime, earned: Sequence[Gain] = ()) -> TierHistory:
        """The replay up to a moment. `earned`: points that count besides."""
        gains = {
            measured: [*each, *earned] if measured.measure is Measure.POINTS else each
            for measured, each in self.gains.items()
        }
        return tier_history(gains, versions, self.joined_at, as_of, self.overrides)


def tier_at(
    versions: Sequence[TierRules],
    changes: Sequence[tuple[datetime, str | None]],
    at: datetime,
    *,
    inclusive: bool,
) -> str | None:
    """The tier at a moment, by the changes of a customer: as before what happens then, or with it."""
    in_force = [rules for rules in versions if rules.since < at or (inclusive and rules.since == at)]
    if not in_force:
        return None
    past = [tier for since, tier in changes if since < at or (inclusive and since == at)]
    return past[-1] if past else in_force[-1].tier(in_force[-1].base)


class TierCourse:
    """`before`: the tier before each event, by its id; first by what was `earned` when they were decided before.

    `facts`: of the events' customers, without what was decided about the events.
    """

    def __init__(
        self,
        versions: Sequence[TierRules],
        facts: Mapping[UUID, TierFacts],
        events: Sequence[EarningEvent],
        earned: Iterable[Earned],
    ) -> None:
        self._versions, self._facts, self._events = versions, facts, events
        self.before = self._before(earned)

    def correct(self, earned: Iterable[Earned]) -> bool:
        """Follow what was decided now; answers whether it shows another tier before an event than was assumed."""
        assumed, self.before = self.before, self._before(earned)
        return self.before != assumed

    def _before(self, earned: Iterable[Earned]) -> dict[UUID, str | None]:
        theirs: defaultdict[UUID, list[Gain]] = defaultdict(list)
        for customer_id, gain in earned:
            theirs[customer_id].append(gain)
        last: dict[UUID, datetime] = {}
        for event in self._events:
            last[event.customer_id] = max(event.at, last.get(event.customer_id, event.at))
        changes = {
            id_: [
                (change.at, change.tier) for change in self._facts[id_].history(self._versions, at, theirs[id_]).changes
            ]
            for id_, at in last.items()
        }
        return {
            event.id: tier_at(self._versions, changes[event.customer_id], event.at, inclusive=False)
            for event in self._events
        }
