"""Messages: every one that was meant to be sent, with its state, its reason and what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ForeignKey,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    UniqueConstraint,
    select,
    update,
)
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Created, Json, JsonList, Table
from database.consent import STANDING, standing_of
from database.customers import Customer
from database.runs import STEPS_THAT_GAVE, Run
from database.session import ReadSession, WriteSession
from domain.consent import TRANSACTIONAL, StandingConsent
from domain.messages import ATTEMPT_LOST, RESERVED, MessageState, Reason, Sent
from domain.runs import RunState
from domain.suppressions import Suppressed


class Message(Table):
    """One message; its states are domain.messages.MessageState, its reasons domain.messages.Reason."""

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
    mailbox_hash: Mapped[bytes | None] = mapped_column(LargeBinary)  # keyed, of a mail that is limited by its mailbox
    rule: Mapped[dict[str, Any] | None]  # any JSON: the setting that skipped or held it
    to: Mapped[str | None]
    sender: Mapped[str | None]
    subject: Mapped[str | None]
    html: Mapped[str | None]
    text: Mapped[str | None]
    headers: Mapped[Json] = mapped_column(server_default=sql("'{}'"))
    provider: Mapped[str | None]
    provider_id: Mapped[str | None]  # SendGrid's X-Message-Id, an SMTP queue id
    not_after: Mapped[datetime | None]
    created_at: Mapped[datetime]  # business time of the claim: frequency caps count by it
    attempting_at: Mapped[datetime | None]
    called_at: Mapped[datetime | None]  # when the latest call began; `attempting_at` is when it was decided
    accepted_at: Mapped[datetime | None]
    settled_at: Mapped[datetime | None]
    attempts: Mapped[JsonList] = mapped_column(server_default=sql("'[]'"))  # [{at, outcome, status, error}]
    resent: Mapped[bool] = mapped_column(
        server_default=sql("false")
    )  # a transactional message after an unknown attempt

    __table_args__ = (
        UniqueConstraint("run_id", "step", "visit"),  # one message per step and visit, whatever is retried
        Index("ix_messages_customer", "customer_id", "created_at"),  # frequency caps, the customer's list
        Index("ix_messages_created_at", "created_at", "id"),
        Index("ix_messages_journey", "journey", "step"),
        Index("ix_messages_unsettled", "attempting_at", postgresql_where=sql("state IN ('attempting', 'unknown')")),
        Index(
            "ix_messages_claimed", "channel", postgresql_where=sql("state = 'claimed'")
        ),  # the line before a provider
        Index("ix_messages_provider_id", "provider_id"),
        Index("ix_messages_mailbox", "mailbox_hash", "created_at", postgresql_where=sql("mailbox_hash IS NOT NULL")),
    )


class MessageEvent(Table):
    """What a provider or our own tracking reported about a message; the provider's event id makes it unique."""

    __tablename__ = "message_events"

    provider: Mapped[str]  # sendgrid | smtp | outbox | perennial
    provider_event_id: Mapped[str]
    message_id: Mapped[UUID] = mapped_column(ForeignKey("messages.id"))
    kind: Mapped[str]  # domain.message_events.Kind
    actor: Mapped[str | None]  # human | machine | unknown, for opens and clicks
    at: Mapped[datetime]
    detail: Mapped[Json]
    created_at: Mapped[Created]

    __table_args__ = (
        PrimaryKeyConstraint("provider", "provider_event_id"),
        Index("ix_message_events_message", "message_id", "kind"),
    )


class Link(Table):
    """Where a tracked link leads: targets are looked up here, never taken from the address."""

    __tablename__ = "links"

    token: Mapped[str] = mapped_column(primary_key=True)
    message_id: Mapped[UUID] = mapped_column(ForeignKey("messages.id"))
    kind: Mapped[str]  # click | open | unsubscribe | view
    target: Mapped[str | None]

    __table_args__ = (Index("ix_links_message", "message_id"),)


class Suppression(Table):
    """Addresses that get no mail, by keyed hash, so that it outlives an erasure, which blanks all that it says."""

    __tablename__ = "suppressions"

    id: Mapped[UUID] = mapped_column(server_default=sql("gen_random_uuid()"))
    address_hash: Mapped[bytes] = mapped_column(LargeBinary)
    channel: Mapped[str]
    reason: Mapped[str]  # domain.suppressions.Cause
    at: Mapped[datetime]
    message_id: Mapped[UUID | None]
    address: Mapped[str | None]  # null: erased, or of an earlier release
    until: Mapped[datetime | None]
    actor: Mapped[str | None]  # who added it; null: the program
    note: Mapped[str | None]  # why, in somebody's words
    released_at: Mapped[datetime | None]
    released_by: Mapped[str | None]
    release_note: Mapped[str | None]

    __table_args__ = (
        PrimaryKeyConstraint("address_hash", "channel", "reason"),
        Index("uq_suppressions_id", "id", unique=True),
        Index("ix_suppressions_at", "at", "id"),
    )


@dataclass(frozen=True, slots=True)
class GateFacts:
    """What the database knows about sending one message to one customer now."""

    has_pending_events: bool
    consents: Sequence[StandingConsent]
    is_settled: bool  # somebody has looked which addresses all consents belong to
    has_answered: bool  # the mailbox of the address has
    has_given: bool  # the run has moved points or given a reward
    suppressions: Sequence[Suppressed]  # in force for the address
    sent: Sequence[Sent]


OF_TRUSTED_RUN = """
    NOT EXISTS (
        SELECT FROM runs
        WHERE runs.id = messages.run_id AND CASE
            WHEN runs.untrusted IS NULL THEN runs.entry ->> 'trusted' = 'false'
            ELSE CAST(runs.untrusted ->> 'at' AS timestamptz) <= messages.created_at
        END
    )
"""
"""Of a row of `messages`: its run was trusted when it was claimed."""

# Everything the gate asks, in one statement and so of one moment. The caller holds the customer's lock, without which a
# router could route an exit event, or another claim take the last place under a cap, right after this was read.
# Relies on ix_events_pending_subject, ix_consents_customer, pk_suppressions and ix_messages_customer.
_FACTS = sql(
    f"""
    SELECT
        EXISTS (
            SELECT FROM events
            WHERE status = 'pending' AND subject IN (
                SELECT CASE kind WHEN 'user' THEN 'u:' ELSE 'a:' END || value
                FROM identities WHERE customer_id = :customer_id
            ) AND (
                history_mark IS NOT TRUE
                OR timestamp >= coalesce((SELECT entered_at FROM runs WHERE id = :run_id), '-infinity')
            )
        ) AS has_pending_events,
        ({STANDING}) AS consents,
        EXISTS (
            SELECT FROM mailbox_answers
            WHERE customer_id = :customer_id AND channel = :channel AND address_hash = :address_hash
        ) AS has_answered,
        EXISTS ({STEPS_THAT_GAVE} = :run_id) AS has_given,
        (
            SELECT coalesce(jsonb_agg(jsonb_build_array(reason, at)), '[]') FROM suppressions
            WHERE address_hash = ANY(:spellings) AND channel = :channel
                AND released_at IS NULL AND (until IS NULL OR until > :as_of)
        ) AS suppressions,
        (
            SELECT coalesce(jsonb_agg(jsonb_build_array(created_at, channel, purpose, {OF_TRUSTED_RUN})), '[]')
            FROM messages
            WHERE customer_id = :customer_id AND created_at > :horizon AND state = ANY(:reserved)
                AND id IS DISTINCT FROM CAST(:message_id AS uuid)
        ) AS sent
"""  # noqa: S608  a constant of ours
)


async def gate_facts(
    session: WriteSession,
    customer_id: UUID,
    *,
    channel: str,
    address_hash: bytes | None,
    spellings: Sequence[bytes],
    horizon: datetime,
    message_id: UUID | None,
    run_id: UUID | None,
    as_of: datetime,
) -> GateFacts:
    """The facts for the gate; `sent` reaches back to `horizon` and leaves `message_id` itself out.

    Imported events that wait to be routed and happened before the run `run_id` do not concern it.
    `address_hash`: of the address that consent is asked for, None if the channel has none; `spellings`: all hashes
    under which the message's address may be suppressed.
    """
    inputs = {
        "customer_id": customer_id,
        "channel": channel,
        "address_hash": address_hash,
        "spellings": list(spellings),
        "horizon": horizon,
        "message_id": message_id,
        "run_id": run_id,
        "reserved": list(RESERVED),
        "as_of": as_of,
    }
    row = (await session.execute(_FACTS, inputs)).one()
    return GateFacts(
        has_pending_events=row.has_pending_events,
        consents=standing_of(row.consents),
        is_settled=not any(each[8] for each in row.consents),
        has_answered=row.has_answered,
        has_given=row.has_given,
        suppressions=[Suppressed(cause, datetime.fromisoformat(at)) for cause, at in row.suppressions],
        sent=[Sent(datetime.fromisoformat(at), *rest) for at, *rest in row.sent],
    )


async def lock_message_of_step(session: WriteSession, run_id: UUID, step: str, visit: int) -> Message | None:
    """The message of a step and visit, locked; the caller holds the customer's lock."""
    statement = select(Message).where(Message.run_id == run_id, Message.step == step, Message.visit == visit)
    statement = statement.with_for_update().execution_options(populate_existing=True)
    return (await session.execute(statement)).scalar_one_or_none()


async def lock_message(session: WriteSession, message_id: UUID) -> Message | None:
    """One message, locked."""
    return await session.get(Message, message_id, with_for_update=True, populate_existing=True)


async def cancel_claimed(
    session: WriteSession, customer_id: UUID, *, channel: str | None = None, purpose: str | None = None, reason: Reason
) -> int:
    """Cancel what was claimed and not attempted yet, of one purpose or of all but transactional. Answers how many.

    The caller holds the customer's lock, so no claim is between its gate and its row.
    """
    waiting = update(Message).where(
        Message.customer_id == customer_id,
        Message.state.in_([MessageState.CLAIMED, MessageState.PLANNED]),
        Message.purpose != TRANSACTIONAL,
    )
    if channel is not None:
        waiting = waiting.where(Message.channel == channel)
    if purpose is not None:
        waiting = waiting.where(Message.purpose == purpose)
    cancelled = await session.execute(waiting.values(state=MessageState.CANCELLED, reason=reason).returning(Message.id))
    return len(cancelled.all())


async def add_links(session: WriteSession, message_id: UUID, links: Iterable[tuple[str, str, str | None]]) -> None:
    """Keep where the tokens of a message lead: (token, kind, target)."""
    rows = [{"token": token, "message_id": message_id, "kind": kind, "target": target} for token, kind, target in links]
    if rows:
        await session.execute(insert(Link), rows)


async def link_of(session: ReadSession, token: str, kind: str) -> tuple[Link, Message] | None:
    """A tracked link and its message; None for a token that we never gave out for this, or gave to somebody who has
    been erased since (database/erased_links.py)."""
    statement = (
        select(Link, Message)
        .join(Message, Message.id == Link.message_id)
        .outerjoin(Customer, Customer.id == Message.customer_id)
        .where(Link.token == token, Link.kind == kind, Customer.erased_at.is_(None))
    )
    found = (await session.execute(statement)).one_or_none()
    return None if found is None else (found[0], found[1])


async def add_message_events(session: WriteSession, rows: Sequence[Mapping[str, Any]]) -> set[tuple[str, str]]:
    """Keep reports by (provider, provider_event_id); answers those that were not known yet."""
    if not rows:
        return set()
    statement = insert(MessageEvent).on_conflict_do_nothing()
    returned = statement.returning(MessageEvent.provider, MessageEvent.provider_event_id)
    added = await session.execute(returned, [dict(row) for row in rows])
    return {(row.provider, row.provider_event_id) for row in added}


_LAST_ATTEMPT_LOST = sql(f"""
    jsonb_set(jsonb_set(attempts, '{{-1,outcome}}', '"{MessageState.UNKNOWN}"'), '{{-1,error}}', '"{ATTEMPT_LOST}"')
""")


async def mark_lost_attempts(session: WriteSession, before: datetime) -> int:
    """Attempts whose process died between the provider's call and its answer become `unknown`, as their log says."""
    lost = (
        update(Message)
        .where(Message.state == MessageState.ATTEMPTING, Message.attempting_at < before)
        .values(state=MessageState.UNKNOWN, reason=ATTEMPT_LOST, attempts=_LAST_ATTEMPT_LOST)
        .returning(Message.id)
    )
    return len((await session.execute(lost)).all())


async def settle_unknown(session: WriteSession, before: datetime, as_of: datetime) -> int:
    """Marketing that nobody reported on stays `unknown` for good: at most once. Transactional mail resends itself."""
    settled = (
        update(Message)
        .where(
            Message.state == MessageState.UNKNOWN,
            Message.settled_at.is_(None),
            Message.attempting_at < before,
            (Message.purpose != TRANSACTIONAL) | Message.resent,
        )
        .values(settled_at=as_of)
        .returning(Message.id)
    )
    return len((await session.execute(settled)).all())


async def cancel_stranded(session: WriteSession) -> int:
    """Cancel claims of runs that are over: their workflow ended before the message was attempted."""
    over = select(Run.id).where(Run.id == Message.run_id, Run.state == RunState.ACTIVE).exists()
    stranded = (
        update(Message)
        .where(Message.state.in_([MessageState.PLANNED, MessageState.CLAIMED]), Message.run_id.is_not(None), ~over)
        .values(state=MessageState.CANCELLED, reason=Reason.RUN_ENDED)
        .returning(Message.id)
    )
    return len((await session.execute(stranded)).all())
