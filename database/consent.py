"""Consent: append-only records; the state for a purpose and channel is the record latest by its time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, select, text
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Json, Table
from database.session import ReadSession, WriteSession
from domain.consent import ConsentRecord
from domain.ids import new_id


class Consent(Table):
    """One act of consent."""

    __tablename__ = "consents"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))
    purpose: Mapped[str]
    channel: Mapped[str]
    state: Mapped[str]  # subscribed | unsubscribed | pending
    at: Mapped[datetime]
    sent: Mapped[datetime] = mapped_column(server_default=text("now()"))  # orders what was said at the same instant
    source: Mapped[str]  # api | import | event | one-click | preferences | complaint | double-opt-in
    evidence: Mapped[Json]  # text version, ip, user agent, form
    event_id: Mapped[UUID]  # the event that tells the same

    __table_args__ = (
        Index("ix_consents_customer", "customer_id", "purpose", "channel", "at", "id"),
        Index("uq_consents_event_id", "event_id", "purpose", "channel", unique=True),
    )


async def record(session: WriteSession, records: Iterable[ConsentRecord]) -> None:
    """Append what is not recorded yet. The caller holds the customers' locks and cancels what may no longer be sent."""
    rows = [
        {
            "id": new_id(),
            "customer_id": record.customer_id,
            "purpose": record.purpose,
            "channel": record.channel,
            "state": record.state,
            "at": record.at,
            "source": record.source,
            "evidence": dict(record.evidence),
            "event_id": record.event_id,
        }
        for record in records
    ]
    if rows:
        await session.execute(insert(Consent).on_conflict_do_nothing(), rows)


_GIVEN = text("""
    SELECT asked.event_id
    FROM unnest(
        CAST(:customers AS uuid[]), CAST(:purposes AS text[]), CAST(:channels AS text[]),
        CAST(:times AS timestamptz[]), CAST(:events AS uuid[])
    ) AS asked (customer_id, purpose, channel, at, event_id)
    CROSS JOIN LATERAL (
        SELECT state FROM consents AS told
        WHERE (told.customer_id, told.purpose, told.channel) = (asked.customer_id, asked.purpose, asked.channel)
            AND told.at <= asked.at
        ORDER BY told.at DESC, told.id DESC
        LIMIT 1
    ) AS latest
    WHERE latest.state = 'subscribed'
""")


async def request(session: WriteSession, records: Sequence[ConsentRecord]) -> None:
    """Append requests that wait for confirmation. Whoever had said yes before stays subscribed, so theirs is left out:
    filling in the form again must not end what they get. The caller holds the customers' locks."""
    if not records:
        return
    columns = {
        "customers": [record.customer_id for record in records],
        "purposes": [record.purpose for record in records],
        "channels": [record.channel for record in records],
        "times": [record.at for record in records],
        "events": [record.event_id for record in records],
    }
    given = set((await session.scalars(_GIVEN, columns)).all())
    await record(session, [asked for asked in records if asked.event_id not in given])


async def current(session: ReadSession, customer_id: UUID) -> Sequence[Consent]:
    """The record that counts for each purpose and channel; an absent one means the shop's default."""
    statement = (
        select(Consent)
        .where(Consent.customer_id == customer_id)
        .ext(distinct_on(Consent.purpose, Consent.channel))
        .order_by(Consent.purpose, Consent.channel, Consent.at.desc(), Consent.id.desc())
    )
    return (await session.execute(statement)).scalars().all()


async def history(session: ReadSession, customer_id: UUID) -> Sequence[Consent]:
    """All records of a customer, the oldest first."""
    statement = select(Consent).where(Consent.customer_id == customer_id).order_by(Consent.at, Consent.id)
    return (await session.execute(statement)).scalars().all()
