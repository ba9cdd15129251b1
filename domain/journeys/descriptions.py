"""What a run does at this moment, in words for Temporal's UI: the journey's words, never the customer's data."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from domain.journeys.matches import ConditionMatch, EventMatch, Match, MessageMatch, SegmentMatch, TraitMatch
from domain.journeys.steps import Step, WaitForStep
from domain.runs import Ending, OutcomeKind, StepOutcome

_LONG_LIST = 3


def performing(step: Step) -> str:
    """`send "reminder"`."""
    return f'{step.kind} "{step.id}"'


def standing(step: Step, outcome: StepOutcome) -> str:
    """`waiting until 09:00 on 2026-05-04 Europe/Berlin for Order Completed`, or why an effect is held."""
    if outcome.kind is OutcomeKind.HELD:
        return f"held at {performing(step)}: the journey is paused"
    until = "" if outcome.at is None else f" until {_on_the_clock(outcome.at, outcome.zone)}"
    reason = "" if outcome.reason is None else f" ({outcome.reason})"
    return f"waiting{until}{_for_what(step)}{reason} at {performing(step)}"


def ended(ending: Ending) -> str:
    """`exited: Order Completed`."""
    return str(ending.state) if ending.reason is None else f"{ending.state}: {ending.reason}"


def _on_the_clock(at: datetime, zone: str | None) -> str:
    local = at.astimezone(ZoneInfo(zone or "UTC"))
    clock = local.strftime("%H:%M" if local.second == 0 else "%H:%M:%S")
    return f"{clock} {zone or 'UTC'} on {local:%Y-%m-%d}"


def awaited(step: Step) -> list[str]:
    """What a `wait_for` waits for, one by one."""
    return [_named(alternative) for alternative in step.wait_for.any] if isinstance(step, WaitForStep) else []


def _for_what(step: Step) -> str:
    names = awaited(step)
    more = "" if len(names) <= _LONG_LIST else f" or {len(names) - _LONG_LIST} more"
    return f" for {' or '.join(names[:_LONG_LIST])}{more}" if names else ""


def _named(match: Match) -> str:
    match match:
        case EventMatch(event=event):
            return event
        case MessageMatch(message=message, step=step):
            return f"message {message}" if step is None else f"message {message} ({step})"
        case TraitMatch(trait=trait):
            return f"a change of {trait}"
        case SegmentMatch(segment=segment, change=change):
            return f"segment {segment} {change}"
        case ConditionMatch():
            return "a condition"
