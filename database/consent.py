"""Consent: append-only records, each for an address; of those that count for the present one the latest decides.

Which address a record belongs to, and whether it counts: consent_addresses.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, LargeBinary, PrimaryKeyConstraint, exists, select, text
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Json, Table
from database.restore_journal import note
from database.secrets import PSEUDONYMS, known_secret, secret
from database.session import ReadSession, WriteSession
from domain.consent import GIVEN_AT, ConsentRecord, ConsentState, StandingConsent, addressed_channel, is_statement
from domain.ids import new_id
from domain.pseudonyms import address_pseudonym
from domain.restore_journal import Withdrawn


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
    source: Mapped[str]  # domain.consent.ConsentSource
    evidence: Mapped[Json]  # text version, ip, user agent, form
    event_id: Mapped[UUID]  # the event that tells the same
    address_hash: Mapped[bytes | None] = mapped_column(LargeBinary)  # keyed; null: none was known yet
    address_given: Mapped[bool | None]  # the record names its address; null: nobody has looked for one yet
    counts: Mapped[bool] = mapped_column(server_default=text("true"))  # false: of another address than the present one

    __table_args__ = (
        Index("ix_consents_customer", "customer_id", "purpose", "channel", "at", "id"),
        Index("ix_consents_unsettled", "customer_id", postgresql_where=text("address_given IS NULL")),
        Index("ix_consents_withdrawn", "address_hash", postgresql_where=text("state = 'unsubscribed'")),
        Index(
            *("uq_consents_event_id", "event_id", "purpose", "channel"),
            unique=True,
            postgresql_where=text("source <> 'moved'"),
        ),
        Index(
            *("uq_consents_moved", "event_id", "purpose", "channel", "address_hash"),
            unique=True,
            postgresql_where=text("source = 'moved'"),
        ),
    )


class MailboxAnswer(Table):
    """Somebody who reads a customer's address has answered: a double opt-in, or a person's click in a message to it."""

    __tablename__ = "mailbox_answers"

    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))
    channel: Mapped[str]
    address_hash: Mapped[bytes] = mapped_column(LargeBinary)
    at: Mapped[datetime]

    __table_args__ = (PrimaryKeyConstraint("customer_id", "channel", "address_hash"),)


async def record(session: WriteSession, records: Sequence[ConsentRecord]) -> None:
    """Append what is not recorded yet. The caller holds the customers' locks, cancels what may no longer be sent, and
    settles the addresses (consent_addresses.py) once the events of the records are stored."""
    if not records:
        return
    key = await secret(session, PSEUDONYMS)
    rows = [
        {
            "id": new_id(),
            "customer_id": record.customer_id,
            "purpose": record.purpose,
            "channel": record.channel,
            "state": record.state,
            "at": record.at,
            "sent": record.sent or record.at,
            "source": record.source,
            "evidence": dict(record.evidence),
            "event_id": record.event_id,
            "address_hash": _hash(key, record),
            "address_given": record.address is not None,
        }
        for record in records
    ]
    await session.execute(insert(Consent).on_conflict_do_nothing(), rows)
    await note(session, [_withdrawn(row) for row in rows if row["state"] == ConsentState.UNSUBSCRIBED])


def _withdrawn(row: Mapping[str, Any]) -> Withdrawn:
    copied = ("purpose", "channel", "at", "sent", "source")
    return Withdrawn(
        customer=row["customer_id"],
        event=row["event_id"],
        address=row["address_hash"],
        **{name: row[name] for name in copied},
    )


def _hash(key: bytes, record: ConsentRecord) -> bytes | None:
    if record.address is None:
        return None
    return address_pseudonym(key, addressed_channel(record.channel), record.address)


# The same as domain.consent.is_statement.
IS_STATEMENT = f"""(
    state = '{ConsentState.SUBSCRIBED}' AND coalesce(evidence ->> 'granted', source) = 'import'
    AND NOT jsonb_exists(evidence, '{GIVEN_AT}')
)"""

# The latest of each kind, state and address: with these the fold of domain.consent comes out as with all of them, acts
# and statements apart, of which the first counts. What other people withdrew for the address counts for everybody who
# has it. By ix_consents_customer, ix_consents_withdrawn.
STANDING = f"""
    SELECT coalesce(jsonb_agg(jsonb_build_array(
        purpose, channel, state, at, source, sent, event_id, encode(address_hash, 'hex'), address_given IS NULL,
        is_statement
    )), '[]')
    FROM (
        (
            SELECT DISTINCT ON (purpose, channel, state, address_hash)
                purpose, channel, state, at, source, sent, event_id, address_hash, address_given, false AS is_statement
            FROM consents WHERE customer_id = :customer_id AND NOT {IS_STATEMENT}
            ORDER BY purpose, channel, state, address_hash, at DESC, sent DESC, event_id DESC
        ) UNION ALL (
            SELECT DISTINCT ON (purpose, channel, address_hash)
                purpose, channel, state, at, source, sent, event_id, address_hash, address_given, true AS is_statement
            FROM consents WHERE customer_id = :customer_id AND {IS_STATEMENT}
            ORDER BY purpose, channel, address_hash, at, sent, event_id
        ) UNION ALL (
            SELECT DISTINCT ON (purpose, channel)
                purpose, channel, state, at, source, sent, event_id, address_hash, true AS address_given, false
            FROM consents WHERE address_hash = :address_hash AND state = 'unsubscribed' AND customer_id <> :customer_id
            ORDER BY purpose, channel, at DESC, sent DESC, event_id DESC
        )
    ) AS latest
"""  # noqa: S608  constants


def standing_of(rows: Iterable[Sequence[Any]]) -> list[StandingConsent]:
    """What STANDING found."""
    return [
        StandingConsent(
            *(purpose, channel, state, datetime.fromisoformat(at), source),
            order=(datetime.fromisoformat(at), datetime.fromisoformat(sent), UUID(event_id)),
            address=None if address is None else bytes.fromhex(address),
            is_statement=stated,
        )
        for purpose, channel, state, at, source, sent, event_id, address, _, stated in rows
    ]


async def standing(session: ReadSession, customer_id: UUID, address_hash: bytes | None) -> list[StandingConsent]:
    """What a customer said, and who withdrew this address."""
    given = {"customer_id": customer_id, "address_hash": address_hash}
    return standing_of(await session.scalar(text(STANDING), given) or [])


async def current(session: ReadSession, customer_id: UUID) -> Sequence[Consent]:
    """The record that decides for each purpose and channel at the present address; an absent one means the shop's
    default. What somebody else took back for the mailbox stands in place of the grant."""
    order = (Consent.at.desc(), Consent.sent.desc(), Consent.event_id.desc())
    statement = (
        select(Consent)
        .where(Consent.customer_id == customer_id, Consent.counts)
        .ext(distinct_on(Consent.purpose, Consent.channel))
        .order_by(Consent.purpose, Consent.channel, *order)
    )
    rows = (await session.execute(statement)).scalars().all()
    granted = {row.address_hash for row in rows if row.state == ConsentState.SUBSCRIBED and row.address_hash}
    if not granted:
        return rows
    by_others = select(Consent).where(
        Consent.address_hash.in_(granted),
        Consent.state == ConsentState.UNSUBSCRIBED,
        Consent.customer_id != customer_id,
    )
    others = (await session.scalars(by_others.order_by(*order))).all()
    return [next((other for other in others if _takes_back(other, row)), row) for row in rows]


def _takes_back(other: Consent, grant: Consent) -> bool:
    return (
        (other.purpose, other.channel, other.address_hash) == (grant.purpose, grant.channel, grant.address_hash)
        and grant.state == ConsentState.SUBSCRIBED
        and (
            (other.at, other.sent, other.event_id) > (grant.at, grant.sent, grant.event_id)
            or is_statement(grant.source, grant.state, grant.evidence)
        )
    )


async def history(session: ReadSession, customer_id: UUID) -> Sequence[Consent]:
    """All records of a customer, the oldest first."""
    order = (Consent.at, Consent.sent, Consent.event_id, Consent.id)
    return (
        (await session.execute(select(Consent).where(Consent.customer_id == customer_id).order_by(*order)))
        .scalars()
        .all()
    )


async def keep_answer(session: WriteSession, customer_id: UUID, channel: str, address: str, at: datetime) -> None:
    """Somebody who reads the address has answered. The first time stays."""
    found = address_pseudonym(await secret(session, PSEUDONYMS), channel, address)
    answer = insert(MailboxAnswer).values(customer_id=customer_id, channel=channel, address_hash=found, at=at)
    await session.execute(answer.on_conflict_do_nothing())


async def has_answered(session: ReadSession, customer_id: UUID, channel: str, address_hash: bytes) -> bool:
    """Whether the customer's mailbox has."""
    answer = (MailboxAnswer.customer_id == customer_id, MailboxAnswer.channel == channel)
    return bool(await session.scalar(select(exists().where(*answer, MailboxAnswer.address_hash == address_hash))))


async def answered_addresses(
    session: ReadSession, customer_ids: Collection[UUID], channel: str, addresses: Iterable[str]
) -> set[str]:
    """Those of the addresses whose mailbox has answered to one of these customers."""
    asked = (MailboxAnswer.customer_id.in_(customer_ids), MailboxAnswer.channel == channel)
    answered = set(await session.scalars(select(MailboxAnswer.address_hash).where(*asked)))
    key = await known_secret(session, PSEUDONYMS) or b""
    return {address for address in addresses if answered and address_pseudonym(key, channel, address) in answered}
