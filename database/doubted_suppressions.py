"""Addresses suppressed as not existing though nothing on record says so: earlier releases took any bounce for it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
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


async def doubted_suppressions(session: ReadSession, as_of: datetime) -> list[UUID]:
    """The messages whose bounce or refusal suppressed an address and does not say that it does not exist."""
    standing = select(Suppression.message_id).where(
        Suppression.reason == Cause.HARD_BOUNCE, Suppression.message_id.is_not(None), stands(as_of)
    )
    ids = (await session.scalars(standing.order_by(Suppression.at.desc()).limit(MOST))).all()
    said = {*await _said_by_reports(session, ids), *await _said_by_answers(session, ids)}
    return [each for each in ids if each is not None and each not in said]


async def _said_by_reports(session: ReadSession, ids: Iterable[UUID | None]) -> list[UUID]:
    """By ix_message_events_message."""
    reports = select(MessageEvent.message_id, MessageEvent.kind, MessageEvent.detail).where(
        MessageEvent.message_id.in_(ids), MessageEvent.kind.in_((Kind.BOUNCED, Kind.BLOCKED, Kind.DROPPED))
    )
    return [
        row.message_id
        for row in await session.execute(reports)
        if (drop_fault if row.kind == Kind.DROPPED else bounce_fault)(row.detail) is Fault.ADDRESS
    ]


async def _said_by_answers(session: ReadSession, ids: Iterable[UUID | None]) -> list[UUID]:
    """Answers of the provider itself; those that earlier releases wrote do not say whose fault they were."""
    answers = select(Message.id).where(Message.id.in_(ids), Message.attempts.contains([{"fault": Fault.ADDRESS.value}]))
    return list((await session.scalars(answers)).all())
