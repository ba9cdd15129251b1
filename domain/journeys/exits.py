"""What the rows of runs say about the exit rule that ended them."""

from __future__ import annotations

from typing import assert_never

from domain.journeys.matches import ConditionMatch, EventMatch, Match, MessageMatch, SegmentMatch, TraitMatch
from domain.journeys.waiting import MESSAGE_EVENTS


def exit_reason(match: Match) -> str:
    """The reason that a run shows when this rule ended it: the event's name, or what happened."""
    match match:
        case EventMatch(event=event):
            return f"exit: {event}"
        case MessageMatch(message=message):
            return f"exit: {MESSAGE_EVENTS[message]}"
        case TraitMatch(trait=trait):
            return f"exit: {trait} changed"
        case SegmentMatch(segment=segment, change=change):
            return f"exit: {change} {segment}"
        case ConditionMatch():
            return "exit: condition"
    assert_never(match)
