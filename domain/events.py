"""Events as values: what gets in, from whatever side, and how its name, time and fingerprint are made.

Reading the wire format is api/ingest.py and api/segment.py; storing is database/events.py.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import orjson

from domain.ids import new_id
from domain.placeholders import somebody


class EventKind(StrEnum):
    """The six calls of Segment's tracking API, and `start`, by which a journey starts another one."""

    TRACK = "track"
    IDENTIFY = "identify"
    PAGE = "page"
    SCREEN = "screen"
    GROUP = "group"
    ALIAS = "alias"
    START = "start"


KIND_NAMES = {
    EventKind.IDENTIFY: "Identified",
    EventKind.PAGE: "Page Viewed",
    EventKind.SCREEN: "Screen Viewed",
    EventKind.GROUP: "Group Joined",
    EventKind.ALIAS: "Aliased",
    EventKind.START: "Journey Start Requested",
}
"""The event names of the calls that carry none, so that journeys and conditions can name them too."""

MERGE_ASKED = "Merge Requested"
"""The name of the alias by which a person makes two customers one (`POST /v1/customers/<id>/merge`). The tracking API
gives every alias the name of its kind, so nothing that comes in by it can carry this one.
"""

CLOCK_IS_WRONG = timedelta(seconds=60)
"""By so much a client's `sentAt` differs from the receipt at least before its clock is corrected: a request may take
long on its way, and what it says is then nearer the truth than when it came."""
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
"""No shop has events from before; an earlier time is a broken clock."""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """One event on its way in. `timestamp` is when it happened, already corrected; both times are aware UTC.

    `source` and `message_id` together are taken once, ever. `sent_timestamp` is the sender's own word about the time,
    kept when it differs from `timestamp`. `trusted` events may create revenue and points; a browser's may not.
    `sent` is when the request left the client, by its clock; None, or later than the receipt: the receipt.
    """

    source: str
    message_id: str
    kind: EventKind
    name: str
    timestamp: datetime
    received_at: datetime
    user_id: str | None = None
    anonymous_id: str | None = None
    previous_id: str | None = None
    properties: dict[str, Any] = field(default_factory=dict)  # any JSON object
    traits: dict[str, Any] = field(default_factory=dict)  # any JSON object
    context: dict[str, Any] = field(default_factory=dict)  # any JSON object
    sent_timestamp: str | None = None
    trusted: bool = True
    depth: int = 0
    sent: datetime | None = None
    own: bool = False  # the product itself recorded it, as the code that records it says; nobody outside can
    is_history: bool = False  # imported: it happened long ago, whenever it came in
    enters: bool = False  # history that may start journeys all the same
    id: UUID = field(default_factory=new_id)

    def __post_init__(self) -> None:
        """Somebody must have done it."""
        if self.user_id is None and self.anonymous_id is None:
            raise ValueError("an event needs a user id or an anonymous id")

    @property
    def subject(self) -> str:
        """Whose event this is before identities are resolved: `u:<userId>` or, without one, `a:<anonymousId>`."""
        user_id, anonymous_id = somebody(self.user_id, self.anonymous_id)
        return f"u:{user_id}" if user_id is not None else f"a:{anonymous_id}"


def corrected_time(claimed: datetime | None, sent_at: datetime | None, received_at: datetime) -> datetime:
    """When it happened by our clock: `receivedAt - (sentAt - originalTimestamp)`, Segment's rule for wrong clocks.

    Without `sent_at`, or with one about now, the claim stands. Nothing happens after it was received: such a claim
    becomes the time of receipt, one from before the year 1990 too.
    """
    if claimed is None:
        return received_at
    is_wrong = sent_at is not None and abs(received_at - sent_at) >= CLOCK_IS_WRONG
    try:
        happened = received_at - (sent_at - claimed) if sent_at is not None and is_wrong else claimed
    except OverflowError:
        return received_at
    return happened if EARLIEST <= happened <= received_at else received_at


def fingerprint(event: NewEvent) -> bytes:
    """16 bytes that tell another body under the same message id from a retry of the first one.

    Left out is what may differ between tries of the same message: times, the context, who sent it.
    """
    content = [
        *(event.kind, event.name, event.user_id, event.anonymous_id, event.previous_id),
        *(event.properties, event.traits),
    ]
    return hashlib.blake2b(orjson.dumps(content, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()
