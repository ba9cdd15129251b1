"""What is found in conditions that decide about value: what browsers report can be made up, and can be kept back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

from domain.conditions.checks import NOTHING_KNOWN, Place, Reporters, Seen
from domain.conditions.history import History
from domain.conditions.inputs import inputs_of
from domain.conditions.memory import compile_condition
from domain.conditions.model import AllHold, AnyHolds, Condition, NotHolds
from domain.conditions.scope import Scope
from domain.conditions.walk import parts
from domain.findings import Finding, Severity

_NOBODY = History(customer_id=UUID(int=0))
_NOTHING = Scope(as_of=datetime(2000, 1, 1, tzinfo=UTC))


def check_value(condition: Condition, seen: Seen, place: Place, *, negated: bool = False) -> Iterator[Finding]:
    """The error absence_is_untrusted and the warning only_from_browsers; `negated`: value follows where it is false."""
    for pointer, leaf, is_negated in _with_polarity(condition, place.pointer, negated):
        told = _reported(leaf, seen)
        if any(reporters.browsers for reporters in told.values()) and _needs_nothing(leaf, negated=is_negated):
            names = ", ".join(name for name, reporters in told.items() if reporters.browsers)
            yield _error("absence_is_untrusted", pointer, place, _ABSENCE.format(names))
        elif doubtful := [name for name, reporters in told.items() if reporters.only_browsers]:
            yield _warning(pointer, place, ", ".join(doubtful))


def check_value_event(event: str, pointer: str, seen: Seen = NOTHING_KNOWN) -> Iterator[Finding]:
    """The warning only_from_browsers for an event that value is given for."""
    if seen.event_reporters.get(event, Reporters()).only_browsers:
        yield _warning(pointer, Place(pointer=pointer), f"the event {event!r}")


_ABSENCE = (
    "Browsers report {}, and this holds where it is missing: whoever keeps it back gets something for it."
    " Ask for what was done, or for what only a secret key, an import or a connection tells."
)


def _with_polarity(condition: Condition, pointer: str, negated: bool) -> Iterator[tuple[str, Condition, bool]]:
    """The leaves with their pointers, and whether an odd number of negations stands above them."""
    if not isinstance(condition, AllHold | AnyHolds | NotHolds):
        yield pointer, condition, negated
    for suffix, one in parts(condition):
        yield from _with_polarity(one, pointer + suffix, negated != isinstance(condition, NotHolds))


def _reported(leaf: Condition, seen: Seen) -> dict[str, Reporters]:
    """Who has told of what a leaf reads, by how a person calls it."""
    read = inputs_of(leaf)
    events = {f"the event {name!r}": seen.event_reporters.get(name) for name in sorted(read.events)}
    traits = {f"the trait {name!r}": seen.trait_reporters.get(name) for name in sorted(read.traits)}
    return {what: reporters for what, reporters in (events | traits).items() if reporters is not None}


def _needs_nothing(leaf: Condition, *, negated: bool) -> bool:
    """Whether it comes to value for somebody of whom nothing is known."""
    return compile_condition(leaf)(_NOBODY, _NOTHING) != negated


def _error(code: str, pointer: str, place: Place, message: str) -> Finding:
    return Finding(code=code, step=place.step, pointer=pointer, message=message)


def _warning(pointer: str, place: Place, what: str) -> Finding:
    message = f"Only browsers have reported {what} so far, and nothing of value is given on their word."
    return Finding(
        code="only_from_browsers", severity=Severity.WARNING, step=place.step, pointer=pointer, message=message
    )
