"""Events as they were taken in, and the lifetime de-duplication of (source, messageId)."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, LargeBinary, PrimaryKeyConstraint, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Json, Table


class Event(Table):
    """One event, append-only but for its routing columns. `subject` is `u:<userId>` or `a:<anonymousId>`."""

    __tablename__ = "events"

    id: Mapped[UUID] = mapped_column(primary_key=True)  # uuid7: sorts by receipt
    source: Mapped[str]
    message_id: Mapped[str]
    kind: Mapped[str]  # track | identify | page | screen | group | alias
    name: Mapped[str]  # a track's event; for the others their kind's own name ("Page Viewed", ...) or ""
    subject: Mapped[str]
    user_id: Mapped[str | None]
    anonymous_id: Mapped[str | None]
    previous_id: Mapped[str | None]
    timestamp: Mapped[datetime]  # when it happened, corrected for clock skew
    received_at: Mapped[datetime]
    properties: Mapped[Json]
    traits: Mapped[Json]
    context: Mapped[Json]
    trusted: Mapped[bool]  # from a secret key: may create revenue and points; a browser's may not
    depth: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))  # loop guard of emitted events

    status: Mapped[str] = mapped_column(server_default=text("'pending'"))  # pending | routed | quarantined
    customer_id: Mapped[UUID | None]
    number: Mapped[int | None]  # routing order within the customer
    routed_at: Mapped[datetime | None]
    changed_traits: Mapped[dict[str, Any] | None]  # any JSON: what this event changed on the profile
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    not_before: Mapped[datetime | None]
    error: Mapped[str | None]

    __table_args__ = (
        # The router's claim: pending subjects in order of receipt.
        Index("ix_events_pending", "id", postgresql_where=text("status = 'pending'")),
        # "Has this customer events that are stored and not yet routed?", asked by every message claim.
        Index("ix_events_pending_subject", "subject", "id", postgresql_where=text("status = 'pending'")),
        # Conditions and look-backs: one customer's events of one name, by time.
        Index("ix_events_customer_name", "customer_id", "name", "timestamp"),
        # Look-back of waits and the customer's own list, in routing order.
        Index("ix_events_customer_number", "customer_id", "number"),
        Index("ix_events_quarantined", "id", postgresql_where=text("status = 'quarantined'")),
        # Simulation: recorded events of a period.
        Index("ix_events_name_timestamp", "name", "timestamp"),
    )


class EventKey(Table):
    """Every (source, messageId) ever taken. Hash partitioned by the migration; kept apart so that events can be dropped by month."""

    __tablename__ = "event_keys"

    source: Mapped[str]
    message_id: Mapped[str]
    event_id: Mapped[UUID]
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)  # of the body: another body under the same id is reported

    __table_args__ = (
        PrimaryKeyConstraint("source", "message_id"),
        {"postgresql_partition_by": "HASH (source, message_id)"},
    )


class EventName(Table):
    """Event names and property types that have been seen, for checks ("never seen") and conditions' type warnings."""

    __tablename__ = "event_names"

    name: Mapped[str] = mapped_column(primary_key=True)
    first_seen: Mapped[datetime]
    properties: Mapped[Json]  # path -> list of JSON types seen
