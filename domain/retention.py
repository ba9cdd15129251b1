"""How long what is personal is kept, by class. Nothing is forgotten unless the shop says so."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from domain.document import Document, WholeNumber


class Class(StrEnum):
    """What is kept for a time of its own."""

    EVENT_CONTEXT = "event_context"
    MAIL_BODIES = "mail_bodies"
    WEBHOOK_ANSWERS = "webhook_answers"
    IDEMPOTENCY_ANSWERS = "idempotency_answers"
    ANONYMOUS_VISITORS = "anonymous_visitors"
    INACTIVE_CUSTOMERS = "inactive_customers"
    AUDIT = "audit"


Days = Annotated[WholeNumber, Field(le=36_500)] | None


class Retention(Document):
    """Days for each class; absent: forever. The least is what retries, reports of providers and late events need."""

    event_context_days: Days = Field(
        default=None,
        ge=7,
        description="What clients said of device, page and address with an event; zone and language stay. "
        "Recommended: 90.",
    )
    mail_bodies_days: Days = Field(
        default=None,
        ge=30,
        description="Subject and body of messages, and so the page of `view in browser`. Recommended: 365.",
    )
    webhook_answers_days: Days = Field(
        default=None, ge=7, description="What `call` steps saved, of runs that have ended. Recommended: 90."
    )
    idempotency_answers_days: Days = Field(
        default=None, ge=3, description="Answers under an Idempotency-Key; the key itself stays used. Recommended: 30."
    )
    anonymous_visitors_days: Days = Field(
        default=None,
        ge=30,
        description="Visitors without a user id, since they were last seen: erased. Recommended: 395.",
    )
    inactive_customers_days: Days = Field(
        default=None,
        ge=180,
        description="Customers, since they were last seen: erased, with their points. Recommended: 1095.",
    )
    audit_days: Days = Field(
        default=None, ge=90, description="Who changed, exported or erased what. Recommended: 1095."
    )

    def kept_since(self, as_of: datetime) -> dict[Class, datetime]:
        """By class that is forgotten, the time from which on it is kept."""
        days = {each: getattr(self, f"{each.value}_days") for each in Class}
        return {each: as_of - timedelta(days=kept) for each, kept in days.items() if kept is not None}
