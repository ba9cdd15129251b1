"""What a journey can wait for, start on, exit on or count as its goal: matches over the events of one customer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, Tag, model_validator

from domain.conditions.model import Condition, Predicate
from domain.conditions.operators import Value
from domain.document import Document, by_key


def read_change(raw: Any, noun: str, changes: Sequence[str]) -> Any:  # raw document, any JSON
    """`{tier: gold, reached: true}` and `{tier: {reached: gold}}` as what they are short for: `change: reached`."""
    if not isinstance(raw, dict):
        return raw
    named = raw.get(noun)
    for change in changes:
        if raw.get(change) is True:
            return {**{key: value for key, value in raw.items() if key != change}, "change": change}
        if isinstance(named, dict) and named.keys() == {change}:
            return {**raw, noun: named[change], "change": change}
    return raw


class EventMatch(Document):
    """An event by its exact name; every predicate of `where` must hold."""

    event: str = Field(min_length=1, max_length=200)
    where: list[Predicate] = Field(default_factory=list)


class MessageMatch(Document):
    """Something that happened to a message of this run; `step` narrows it to the message that step sent."""

    message: Literal["delivered", "opened", "clicked", "bounced", "complained", "unsubscribed"]
    step: str | None = None


class TraitMatch(Document):
    """A trait that changed, or that changed to a given value."""

    trait: str
    to: Value = None


class SegmentMatch(Document):
    """A segment that was entered or left (segments come with a later release: a check says so)."""

    segment: str
    change: Literal["entered", "left"] = "entered"

    @model_validator(mode="before")
    @classmethod
    def _read_entered_or_left(cls, raw: Any) -> Any:  # raw document, any JSON
        return read_change(raw, "segment", ("entered", "left"))


class ConditionMatch(Document):
    """A condition on the customer: when something happens and it holds, or by time alone."""

    if_: Condition = Field(alias="if")


Match = Annotated[
    Annotated[EventMatch, Tag("event")]
    | Annotated[MessageMatch, Tag("message")]
    | Annotated[TraitMatch, Tag("trait")]
    | Annotated[SegmentMatch, Tag("segment")]
    | Annotated[ConditionMatch, Tag("if")],
    by_key("event", "message", "trait", "segment", "if"),
]
