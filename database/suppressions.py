"""Addresses that get no mail, kept as keyed hashes so that they outlive an erasure. The table stands in messages.py."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from database.messages import Suppression
from database.secrets import PSEUDONYMS, secret
from database.session import WriteSession
from domain.pseudonyms import address_pseudonym, address_pseudonyms


async def suppress(
    session: WriteSession,
    channel: str,
    addresses: Iterable[str],
    *,
    reason: str,
    at: datetime,
    message_id: UUID | None = None,
) -> None:
    """Send nothing to these addresses any more; the first reason stays."""
    key = await secret(session, PSEUDONYMS)
    hashes = sorted({address_pseudonym(key, channel, address) for address in addresses})
    rows = [
        {"address_hash": each, "channel": channel, "reason": reason, "at": at, "message_id": message_id}
        for each in hashes
    ]
    if rows:
        await session.execute(insert(Suppression).on_conflict_do_nothing(), rows)


async def suppression(session: WriteSession, channel: str, address: str) -> str | None:
    """Why nothing may be sent to this address, or None."""
    key = await secret(session, PSEUDONYMS)
    spellings = address_pseudonyms(key, channel, address)
    statement = select(Suppression.reason).where(
        Suppression.address_hash.in_(spellings), Suppression.channel == channel
    )
    return (await session.execute(statement.limit(1))).scalar_one_or_none()
