"""Entries that time brings: dates in traits, schedules over an audience. What their workflows and activities say."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from domain.events import EventKind, NewEvent
from domain.journeys.waiting import PRODUCT_SOURCE
from domain.runs import Wire

ENTRY_DUE = "Journey Entry Due"
"""The product's own event by which a date or a schedule has come round for a customer. The router enrols by it."""

DATE_PREFIX, SCHEDULE_PREFIX = "date/", "schedule/"
"""How the message ids of these events begin."""

DUE_DATES = "DueDates"
ENTER_AUDIENCE = "EnterAudience"
BACKFILL_DATES = "BackfillDates"
"""Names of workflows: with capitals, so that no journey's key can be one."""


def schedule_id(journey: str, entry: int) -> str:
    """The id of the Temporal Schedule of one entry, from which its workflows take theirs."""
    return f"entry/{journey}/{entry}"


class DueDatesInput(Wire):
    """Enter whose date has come by then."""

    as_of: datetime


class AudienceInput(Wire):
    """Enter everybody of the audience of one schedule entry: what Temporal starts at the entry's times."""

    journey: str
    entry: int
    fired: datetime | None = None
    """The nominal time, where the database says it: an entry of the audience goes on after Temporal was lost."""


class AudiencePage(Wire):
    """A stretch of an audience, from the customer after `after`; `fired` tells one time of the schedule from others."""

    journey: str
    entry: int
    fired: datetime
    after: UUID | None = None


class BackfillInput(Wire):
    """Work out what falls due for the customers there are, after a journey with date entries was published."""

    journey: str


class BackfillPage(Wire):
    """A stretch of customers, from the one after `after`."""

    journey: str
    as_of: datetime
    after: UUID | None = None


class Reached(Wire):
    """How far a stretch came: `after` is where the next begins, None at the end."""

    after: UUID | None = None


def entry_due(
    *, journey: str, user_id: str, message_id: str, properties: dict[str, object], as_of: datetime, trusted: bool
) -> NewEvent:
    """The event that enters a customer. One message id, one event: an activity that runs twice enters nobody twice.

    `trusted`: trusted facts alone would have entered the customer then.
    """
    return NewEvent(
        source=PRODUCT_SOURCE,
        message_id=message_id,
        kind=EventKind.START,
        name=ENTRY_DUE,
        timestamp=as_of,
        received_at=as_of,
        user_id=user_id,
        properties={"journey": journey, "properties": properties},
        trusted=trusted,
        own=True,
    )
