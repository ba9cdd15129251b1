"""What conditions of the moment answered when events were decided first: that stays, whatever has changed since (G34).

Tiers, points earned and what was done before follow from the events, and are asked again. Traits, segments, consent and
the like have no past to ask: a decision that is made again goes by what they were when it was made first.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from database.earnings import Stored
from domain.conditions.model import AggregateIs, Condition, Did, PointsAre, TierIs
from domain.conditions.walk import leaves
from domain.earning import EarningEvent, Programme
from domain.unpaid import Unpaid

_CAME_TO_ITS_FACTORS = frozenset({None, Unpaid.CLIPPED, Unpaid.LIMIT, Unpaid.ONCE, Unpaid.NOTHING, Unpaid.EDITED})
_FOLLOWS_FROM_EVENTS = (AggregateIs, Did, PointsAre, TierIs)


class KeptAnswers:
    """The answers that stored decisions were made by."""

    def __init__(self, decided: Sequence[Stored] = ()) -> None:
        self._rows: dict[UUID, list[Stored]] = {}
        for row in decided:
            self._rows.setdefault(row.event_id, []).append(row)

    def to(self, condition: Condition, pointer: str, event: EarningEvent, programme: Programme) -> bool | None:
        """What the condition at a pointer answered about an event, by this version; None: it is to be asked."""
        if any(isinstance(leaf, _FOLLOWS_FROM_EVENTS) for _, leaf in leaves(condition)):
            return None
        rows = [row for row in self._rows.get(event.id, ()) if row.version == programme.version]
        place = pointer.removesuffix("/if")
        if place.startswith("/earn/"):
            rule = programme.definition.earn[int(place.split("/")[2])].rule
            rows = [row for row in rows if row.rule == rule]
        if place.count("/") == 2 and place.startswith("/earn/"):
            return next((held for row in rows if (held := _rule_held(row, pointer)) is not None), None)
        return next((place in row.factors for row in rows if row.reason in _CAME_TO_ITS_FACTORS), None)


def _rule_held(row: Stored, pointer: str) -> bool | None:
    if row.reason is Unpaid.CONDITION:
        return row.failed != pointer
    return True if row.reason in _CAME_TO_ITS_FACTORS else None
