"""A dry run of a programme over recorded events: what it would have paid, to whom, and why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from domain.earning import Decision, EarningEvent

_SAMPLES = 10


@dataclass(slots=True)
class RuleTrial:
    """One rule's part."""

    paid: int = 0
    points: int = 0
    unpaid: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Trial:
    """What has come out so far. `names`: the shop's own ids of customers."""

    events: int = 0
    customers: set[UUID] = field(default_factory=set)
    rules: dict[str, RuleTrial] = field(default_factory=dict)
    samples: list[Decision] = field(default_factory=list)
    names: dict[UUID, str | None] = field(default_factory=dict)

    def count_events(self, events: Iterable[EarningEvent]) -> None:
        """Count events that were tried."""
        for event in events:
            self.events += 1
            self.customers.add(event.customer_id)

    def count(self, decision: Decision) -> None:
        """Count one decision; the first few are kept as samples."""
        rule = self.rules.setdefault(decision.rule, RuleTrial())
        if decision.points:
            rule.paid += 1
            rule.points += decision.points
        else:
            rule.unpaid[decision.reason or ""] += 1
        if len(self.samples) < _SAMPLES:
            self.samples.append(decision)
