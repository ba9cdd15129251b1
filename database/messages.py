"""Messages: every one that was meant to be sent, with its state, its reason and what became of it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, LargeBinary, PrimaryKeyConstraint, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Created, Json, JsonList, Table


class Message(Table):
    """One message. States: planned, claimed, attempting, accepted, rejected, unknown, delivered, bounced, skipped, cancelled, expired."""

    __tablename__ = "messages"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    customer_id: Mapped[UUID | None] = mapped_column(ForeignKey("customers.id"))  # null: a test send
    channel: Mapped[str]
    purpose: Mapped[str]
    template: Mapped[str]
    template_version: Mapped[int | None]
    journey: Mapped[str | None]
    journey_version: Mapped[int | None]
    run_id: Mapped[UUID | None]
    step: Mapped[str | None]
    visit: Mapped[int | None]
    campaign: Mapped[str | None]
    state: Mapped[str]
    reason: Mapped[str | None]
    to: Mapped[str | None]
    sender: Mapped[str | None]
    subject: Mapped[str | None]
    html: Mapped[str | None]
    text: Mapped[str | None]
    headers: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    provider: Mapped[str | None]
    provider_id: Mapped[str | None]  # SendGrid's X-Message-Id, an SMTP queue id
    not_after: Mapped[datetime | None]
    created_at: Mapped[datetime]  # business time of the claim: frequency caps count by it
    attempting_at: Mapped[datetime | None]
    accepted_at: Mapped[datetime | None]
    settled_at: Mapped[datetime | None]
    attempts: Mapped[JsonList] = mapped_column(server_default=text("'[]'"))  # [{at, outcome, status, error}]
    resent: Mapped[bool] = mapped_column(server_default=text("false"))  # a transactional message after an unknown attempt

    __table_args__ = (
        UniqueConstraint("run_id", "step", "visit"),  # one message per step and visit, whatever is retried
        Index("ix_messages_customer", "customer_id", "created_at"),  # frequency caps, the customer's list
        Index("ix_messages_created_at", "created_at", "id"),
        Index("ix_messages_journey", "journey", "step"),
        Index("ix_messages_unsettled", "attempting_at", postgresql_where=text("state IN ('attempting', 'unknown')")),
        Index("ix_messages_provider_id", "provider_id"),
    )


class MessageEvent(Table):
    """What a provider or our own tracking reported about a message; the provider's event id makes it unique."""

    __tablename__ = "message_events"

    provider: Mapped[str]  # sendgrid | smtp | outbox | perennial
    provider_event_id: Mapped[str]
    message_id: Mapped[UUID] = mapped_column(ForeignKey("messages.id"))
    kind: Mapped[str]  # processed | delivered | deferred | opened | clicked | bounced | blocked | dropped | complained | unsubscribed
    actor: Mapped[str | None]  # human | machine | unknown, for opens and clicks
    at: Mapped[datetime]
    detail: Mapped[Json]
    created_at: Mapped[Created]

    __table_args__ = (PrimaryKeyConstraint("provider", "provider_event_id"), Index("ix_message_events_message", "message_id", "kind"))


class Link(Table):
    """Where a tracked link leads: targets are looked up here, never taken from the address."""

    __tablename__ = "links"

    token: Mapped[str] = mapped_column(primary_key=True)
    message_id: Mapped[UUID] = mapped_column(ForeignKey("messages.id"))
    kind: Mapped[str]  # click | open | unsubscribe
    target: Mapped[str | None]

    __table_args__ = (Index("ix_links_message", "message_id"),)


class Suppression(Table):
    """Addresses that get no mail, by keyed hash, so that it outlives an erasure."""

    __tablename__ = "suppressions"

    address_hash: Mapped[bytes] = mapped_column(LargeBinary)
    channel: Mapped[str]
    reason: Mapped[str]  # erased | complaint | hard_bounce | manual
    at: Mapped[datetime]
    message_id: Mapped[UUID | None]

    __table_args__ = (PrimaryKeyConstraint("address_hash", "channel"),)


class ProviderRate(Table):
    """The hard send rate of a provider: GCRA with capacity 1. `tat` is the earliest instant of the next attempt."""

    __tablename__ = "provider_rates"

    provider: Mapped[str] = mapped_column(primary_key=True)
    tat: Mapped[datetime]
    transactional_until: Mapped[datetime]  # while it lies ahead, marketing waits: a transactional message stands in line
