"""What is reported about a message after it was sent, and what that does to its state."""

from __future__ import annotations

from enum import StrEnum

from domain.messages import MessageState


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

_UNSETTLED = (MessageState.ATTEMPTING, MessageState.UNKNOWN)
_TAKEN = (*_UNSETTLED, MessageState.ACCEPTED)


def state_after(kind: Kind, state: MessageState) -> MessageState:
    """The message's state after a report. Reports come late, twice and in any order; none takes a state back."""
    match kind:
        case Kind.PROCESSED | Kind.DEFERRED if state in _UNSETTLED:
            return MessageState.ACCEPTED
        case Kind.DELIVERED | Kind.OPENED | Kind.CLICKED | Kind.COMPLAINED | Kind.UNSUBSCRIBED if state in _TAKEN:
            return MessageState.DELIVERED
        case Kind.BOUNCED | Kind.BLOCKED | Kind.DROPPED if state in (*_TAKEN, MessageState.DELIVERED):
            return MessageState.BOUNCED
        case _:
            return state
