"""Addresses suppressed as not existing though nothing on record says so: earlier releases took any bounce for it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select

from database.messages import Message, MessageEvent, Suppression
from database.session import ReadSession
from database.suppressions import stands
from domain.bounces import bounce_fault, drop_fault
from domain.message_events import Kind
from domain.refusals import Fault
from domain.suppressions import Cause

MOST = 10_000
"""Suppressions that are looked at, the latest first."""


class Doubted(NamedTuple):
    """A suppression and the message that it came of."""

    suppression_id: UUID
    message_id: UUID


async def doubted_suppressions(session: ReadSession, as_of: datetime) -> list[Doubted]:
    """Suppressions by a bounce or refusal that does not say that the address does not exist.

    Of erased people nothing is on record any more, for or against. By ix_suppressions_at and pk_messages.
    """
    standing = (
        select(Suppression.id, Message.id)
        .join(Message, Message.id == Suppression.message_id)
        .where(Suppression.reason == Cause.HARD_BOUNCE, stands(as_of), Message.attempts != [])
        .order_by(Suppression.at.desc())
        .limit(MOST)
    )
    found = [Doubted(*row) for row in await session.execute(standing)]
    ids = [each.message_id for each in found]
    said = {*await _said_by_reports(session, ids), *await _said_by_answers(session, ids)}
    return [each for each in found if each.message_id not in said]


async def _said_by_reports(session: ReadSession, ids: Iterable[UUID]) -> list[UUID]:
    """By ix_message_events_message."""
    reports = select(MessageEvent.message_id, MessageEvent.kind, MessageEvent.detail).where(
        MessageEvent.message_id.in_(ids), MessageEvent.kind.in_((Kind.BOUNCED, Kind.BLOCKED, Kind.DROPPED))
    )
    return [
        row.message_id
        for row in await session.execute(reports)
        if (drop_fault if row.kind == Kind.DROPPED else bounce_fault)(row.detail) is Fault.ADDRESS
    ]


async def _said_by_answers(session: ReadSession, ids: Iterable[UUID]) -> list[UUID]:
    """Answers of the provider itself; those that earlier releases wrote do not say whose fault they were."""
    answers = select(Message.id).where(Message.id.in_(ids), Message.attempts.contains([{"fault": Fault.ADDRESS.value}]))
    return list((await session.scalars(answers)).all())
