"""How long what is personal is kept, by class. Nothing is forgotten unless the shop says so."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from pydantic import Field, ValidationInfo, field_validator

from domain.document import Document
from domain.durations import PeriodText, parse_duration


class Class(StrEnum):
    """What is kept for a time of its own."""

    EVENT_CONTEXT = "event_context"
    MAIL_BODIES = "mail_bodies"
    WEBHOOK_ANSWERS = "webhook_answers"
    IDEMPOTENCY_ANSWERS = "idempotency_answers"
    ANONYMOUS_VISITORS = "anonymous_visitors"
    INACTIVE_CUSTOMERS = "inactive_customers"
    AUDIT = "audit"


SHORTEST: Final[Mapping[str, timedelta]] = {
    Class.EVENT_CONTEXT: timedelta(days=7),
    Class.MAIL_BODIES: timedelta(days=30),
    Class.WEBHOOK_ANSWERS: timedelta(days=7),
    Class.IDEMPOTENCY_ANSWERS: timedelta(days=3),
    Class.ANONYMOUS_VISITORS: timedelta(days=30),
    Class.INACTIVE_CUSTOMERS: timedelta(days=180),
    Class.AUDIT: timedelta(days=90),
}
"""What is younger may still be needed: by retries, by reports of providers, by decisions that are made again."""


class Retention(Document):
    """A period such as `90d` for each class; absent: for ever."""

    event_context: PeriodText | None = Field(
        default=None,
        description="What clients said of device, page and address with an event; zone and language stay. "
        "Recommended: 90d.",
    )
    mail_bodies: PeriodText | None = Field(
        default=None, description="Subject and body of messages, and so the page of `view in browser`. Recommended: 1y."
    )
    webhook_answers: PeriodText | None = Field(
        default=None, description="What `call` steps saved, of runs that have ended. Recommended: 90d."
    )
    idempotency_answers: PeriodText | None = Field(
        default=None, description="Answers under an Idempotency-Key; the key itself stays used. Recommended: 30d."
    )
    anonymous_visitors: PeriodText | None = Field(
        default=None, description="Visitors without a user id, since they were last seen: erased. Recommended: 13mo."
    )
    inactive_customers: PeriodText | None = Field(
        default=None, description="Customers, since they were last seen: erased, with their points. Recommended: 3y."
    )
    audit: PeriodText | None = Field(default=None, description="Who changed, exported or erased what. Recommended: 3y.")

    @field_validator("*")
    @classmethod
    def _is_long_enough(cls, value: str | None, info: ValidationInfo) -> str | None:
        shortest = SHORTEST[info.field_name or ""]
        if value is not None and parse_duration(value).longest() < shortest:
            raise ValueError(f"too short; at least {shortest.days}d, since it is still needed until then")
        return value

    def kept_since(self, as_of: datetime) -> dict[Class, datetime]:
        """By class that is forgotten, the time from which on it is kept."""
        periods = {each: getattr(self, each.value) for each in Class}
        return {each: parse_duration(period).before(as_of) for each, period in periods.items() if period}
