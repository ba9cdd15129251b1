"""Mails to mailboxes of which nothing is confirmed, counted over all customers and spellings of the mailbox."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select

from database.messages import Message
from database.session import WriteSession
from domain.messages import RESERVED


async def lock_opt_in_mails(
    session: WriteSession, mailbox_hash: bytes, since: datetime, leaving_out: UUID
) -> Sequence[datetime]:
    """When a mailbox was written to since then, or is about to be. Until the transaction ends nobody else is answered
    for the same mailbox, so what the caller decides by this stays true. By ix_messages_mailbox.
    """
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"mailbox/{mailbox_hash.hex()}", 0))))
    asked = select(Message.created_at).where(
        Message.mailbox_hash == mailbox_hash,
        Message.created_at > since,
        Message.state.in_(RESERVED),
        Message.id != leaving_out,
    )
    return (await session.scalars(asked.order_by(Message.created_at))).all()
