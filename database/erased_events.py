"""Message ids of events that went with erased people, as keyed hashes: a replay of one is recognised forever."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy import LargeBinary, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Table
from database.secrets import PSEUDONYMS, secret
from database.session import WriteSession
from domain.pseudonyms import pseudonym

HASH_BYTES = 16

MessageKey = tuple[str, str]
"""Source and message id."""


class ErasedEvent(Table):
    """One event that was taken once and is gone with its customer."""

    __tablename__ = "erased_events"

    hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    erased_at: Mapped[datetime]


async def remember_events(session: WriteSession, keys: Iterable[MessageKey], as_of: datetime) -> None:
    """Keep the hashes of the message ids of events that are being erased."""
    secret_key = await secret(session, PSEUDONYMS)
    rows = [{"hash": each, "erased_at": as_of} for each in sorted({_hash(secret_key, key) for key in keys})]
    if rows:
        await session.execute(insert(ErasedEvent).on_conflict_do_nothing(), rows)


async def replayed(session: WriteSession, keys: Mapping[UUID, MessageKey]) -> set[UUID]:
    """Which of these events are replays of erased ones. By pk_erased_events."""
    if not keys:
        return set()
    secret_key = await secret(session, PSEUDONYMS)
    hashes = {id_: _hash(secret_key, key) for id_, key in keys.items()}
    known = select(ErasedEvent.hash).where(ErasedEvent.hash.in_(sorted(set(hashes.values()))))
    found = set(await session.scalars(known))
    return {id_ for id_, each in hashes.items() if each in found}


def _hash(secret_key: bytes, key: MessageKey) -> bytes:
    source, message_id = key
    return pseudonym(secret_key, "event", f"{source}\x00{message_id}")[:HASH_BYTES]
