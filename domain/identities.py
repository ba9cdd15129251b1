"""The ids under which customers are known, and what events say about them. Who is who: identity_resolution.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from domain.mailboxes import printed
from domain.placeholders import is_placeholder


class IdKind(StrEnum):
    """A shop's own id of a customer, or the id of a browser or app."""

    USER = "user"
    ANONYMOUS = "anonymous"


class Key(NamedTuple):
    """One id under which somebody is known."""

    kind: IdKind
    value: str


def spelling(value: str) -> str:
    """What an id has in common with its other spellings: those that differ in case, in width, in blanks at the ends or
    in characters that nobody sees. Tells who was erased; a living customer goes by the id to the letter.
    """
    return printed(printed(value).casefold())


def subject_of(key: Key) -> str:
    """The subject of events that this id alone names: `u:<userId>` or `a:<anonymousId>`."""
    return f"{key.kind[0]}:{key.value}"


SENT_UNKNOWN = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands for when something was sent where nobody kept it: of one instant, that counts before what comes now."""


class Stamp(NamedTuple):
    """What orders the events of one customer, whatever order they come in: when it happened, when it was sent, its id.

    All three are fixed when an event is first stored. Ids are made in the order of a request's items, so of one
    instant the items of a request count in its order, and requests by when they were sent.
    """

    timestamp: datetime
    sent: datetime
    event_id: UUID

    @classmethod
    def before(cls, moment: datetime) -> Stamp:
        """Before all that happened at a moment."""
        return cls(moment, SENT_UNKNOWN, UUID(int=0))


@dataclass(frozen=True, slots=True)
class Naming:
    """The ids that one event names. `previous_id` is set for an alias only.

    `stamp` is that of the event, but with the time of its receipt where the source is not trusted. `asked`: a person
    asked for this merge, whatever the limit.
    """

    event_id: UUID
    stamp: Stamp
    user_id: str | None
    anonymous_id: str | None
    previous_id: str | None = None
    trusted: bool = True
    asked: bool = False

    @property
    def keys(self) -> list[Key]:
        """All ids that this event may touch."""
        named = [(IdKind.USER, self.user_id), (IdKind.ANONYMOUS, self.anonymous_id)]
        if self.is_alias:
            named.append((IdKind.ANONYMOUS, self.previous_id))
        if self.joins:
            named.append((IdKind.USER, self.previous_id))
        return [Key(kind, value) for kind, value in named if value is not None]

    @property
    def is_alias(self) -> bool:
        """Whether it says that a user had another id. Buffered browser SDKs alias ids to themselves: that says nothing;
        nor does an alias of or to a placeholder.
        """
        ids = (self.previous_id, self.user_id)
        return None not in ids and self.previous_id != self.user_id and not any(map(_names_nobody, ids))

    @property
    def joins(self) -> bool:
        """Whether it may make two user ids one customer's."""
        return self.is_alias and self.trusted


def _names_nobody(value: str | None) -> bool:
    return value is not None and is_placeholder(value)


@dataclass(frozen=True, slots=True)
class Identity:
    """What is known of one id. `linked`: the earliest event that named an anonymous id together with a user."""

    customer_id: UUID
    first_seen: datetime
    linked: Stamp | None = None
    superseded: bool = False  # a user id that was aliased to another one
    link_trusted: bool = True  # whether a trusted source sent that event


def primary_user_id(identities: Mapping[str, Identity]) -> str | None:
    """The id that a customer goes by: one not aliased away, then the one seen first, then the smallest."""
    return min(
        identities,
        key=lambda value: (identities[value].superseded, identities[value].first_seen, value),
        default=None,
    )
