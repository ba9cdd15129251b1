"""What is reported about a message after it was sent, and what that does to its state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from domain.consent import ConsentSource
from domain.engagement import Actor
from domain.messages import MessageState
from domain.refusals import Fault


class Kind(StrEnum):
    """One report; `blocked` is a bounce for which the address is not to blame."""

    PROCESSED = "processed"
    DEFERRED = "deferred"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    BLOCKED = "blocked"
    DROPPED = "dropped"
    OPENED = "opened"
    CLICKED = "clicked"
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"


EVENT_NAMES = {
    Kind.DELIVERED: "Email Delivered",
    Kind.OPENED: "Email Opened",
    Kind.CLICKED: "Email Link Clicked",
    Kind.BOUNCED: "Email Bounced",
    Kind.BLOCKED: "Email Bounced",
    Kind.DROPPED: "Email Bounced",
    Kind.COMPLAINED: "Email Marked as Spam",
    Kind.UNSUBSCRIBED: "Unsubscribed",
}
"""The customer's events by which journeys hear of it (Segment's e-mail spec)."""

_AFTER_CALL = (
    *(MessageState.ATTEMPTING, MessageState.UNKNOWN),
    *(MessageState.ACCEPTED, MessageState.DELIVERED, MessageState.BOUNCED),
)
_FINAL = (MessageState.DELIVERED, MessageState.BOUNCED)


def state_after(kind: Kind, state: MessageState, *, was_attempted: bool) -> MessageState:
    """The message's state after a report. Reports come late, twice and in any order; none takes a state back.

    What the provider was called for counts, not what we made of its answer: a message that waits for its second try,
    or was cancelled meanwhile, has left if the provider says so.
    """
    if not was_attempted and state not in _AFTER_CALL:
        return state
    match kind:
        case Kind.PROCESSED | Kind.DEFERRED if state not in _FINAL:
            return MessageState.ACCEPTED
        case Kind.DELIVERED | Kind.OPENED | Kind.CLICKED | Kind.COMPLAINED | Kind.UNSUBSCRIBED if state not in _FINAL:
            return MessageState.DELIVERED
        case Kind.BOUNCED | Kind.BLOCKED | Kind.DROPPED:
            return MessageState.BOUNCED
        case _:
            return state


@dataclass(frozen=True, slots=True)
class Report:
    """One report about one message; (`provider`, `event_id`) makes it unique, however often it is delivered."""

    provider: str
    event_id: str
    kind: Kind
    at: datetime
    actor: Actor | None = None
    fault: Fault | None = None  # of a refusal
    purpose: str | None = None  # what was unsubscribed from; None: the message's purpose
    source: ConsentSource = ConsentSource.EVENT
    detail: Mapping[str, Any] = field(default_factory=dict)  # any JSON

    @property
    def is_hard(self) -> bool:
        """Whether it says that the address does not exist."""
        return self.fault is Fault.ADDRESS
