"""Whether earlier runs of a journey bar another one: the occasion first, then the limits of `again`."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from domain.durations import parse_duration
from domain.journeys.definition import Again


class Bar(StrEnum):
    """Which rule bars the entry."""

    OCCASION_TAKEN = "occasion_taken"
    ALREADY_ACTIVE = "already_active"
    AGAIN_AFTER = "again_after"
    AGAIN_AT_MOST = "again_at_most"


def barred_by(
    again: Again | None,
    *,
    occasion_taken: bool,
    is_active: bool,
    last_entered_at: datetime | None,
    entered_within: int,
    as_of: datetime,
) -> Bar | None:
    """The rule that bars an entry; `entered_within` counts the entries in the window of `at_most`."""
    again = again or Again()
    if occasion_taken:
        return Bar.OCCASION_TAKEN
    if is_active and not again.while_active:
        return Bar.ALREADY_ACTIVE
    if again.after and last_entered_at and parse_duration(again.after).after(last_entered_at) > as_of:
        return Bar.AGAIN_AFTER
    if again.at_most is not None and entered_within >= again.at_most:
        return Bar.AGAIN_AT_MOST
    return None
