"""How fast a provider may be called, and how long it is left alone when it takes nothing from anybody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from domain.provider_answers import Deferred, ProviderAnswer, Unknown
from domain.refusals import Fault

WINDOW: Final = timedelta(seconds=1)
"""A cap counts the calls in any window of this length."""

MANY_IN_DOUBT: Final = 10
"""What more messages than so many hear one after the other is hardly the trouble of each of them alone."""

_MANY_PLACES: Final = 10
_LONGEST_STATED_PAUSE: Final = timedelta(minutes=5)
_FIRST_WAIT: Final = timedelta(seconds=1)
_LONGEST_WAIT: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Pace:
    """A hard rate as places: whoever calls holds one until a second after the answer, so that no second has more calls.

    `spacing` spreads calls over the second. Of many places one is for finding out how an ill provider is.
    """

    spacing: timedelta
    places: int
    usual: int

    @classmethod
    def of(cls, per_second: float) -> Pace:
        """The pace of so many calls a second."""
        places = max(1, int(per_second))
        return cls(WINDOW / per_second, places, places - (places >= _MANY_PLACES))


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is everybody's trouble, not one message's. `pause`: how long the provider asked to be left alone.

    `is_doubtful`: it may be one recipient's trouble after all, so others try soon.
    """

    code: str
    pause: timedelta | None = None
    is_doubtful: bool = False


def trouble_of(answer: ProviderAnswer, as_of: datetime) -> Trouble | None:
    """Whether an answer is a reason to leave the provider alone, and for how long if it said so.

    An answer that says nothing (a time-out, a broken connection, 500) counts: the next message finds out.
    """
    match answer:
        case Unknown(code=code):
            return Trouble(code)
        case Deferred(code=code, not_before=None, fault=Fault.PROVIDER, is_doubtful=is_doubtful):
            return Trouble(code, is_doubtful=is_doubtful)
        case Deferred(code=code, not_before=datetime() as until, fault=Fault.PROVIDER):
            return Trouble(code, min(max(until - as_of, timedelta()), _LONGEST_STATED_PAUSE))
        case _:
            return None


def is_lost(answer: ProviderAnswer) -> bool:
    """Whether the provider has not answered at all: what it was sent may still lie before its door."""
    return isinstance(answer, Unknown | Deferred) and answer.code == "timeout"


def next_try(answer: Deferred, attempts: Sequence[Mapping[str, Any]], as_of: datetime) -> timedelta:
    """How long a message waits that was refused for a reason of its own: twice as long with each such refusal.

    `attempts` is the message's log with this answer in it. What was everybody's trouble does not count.
    """
    if answer.not_before is not None:
        return max(answer.not_before - as_of, timedelta())
    refused: int = sum(each.get("times", 1) for each in attempts if each.get("fault") == answer.fault)
    doublings = min(max(refused - 1, 0), 20)
    return min(_FIRST_WAIT * float(2**doublings), _LONGEST_WAIT)
