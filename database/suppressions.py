"""Addresses that get no mail, kept as keyed hashes so that they outlive an erasure. The table stands in messages.py."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert

from database import restore_journal
from database.messages import Suppression
from database.secrets import PSEUDONYMS, known_secret, secret
from database.session import ReadSession, WriteSession
from domain.pseudonyms import address_pseudonym, address_pseudonyms
from domain.restore_journal import AddressSuppressed, Released
from domain.suppressions import LASTS, LIFTED_BY_CONSENT, Cause, Suppressed

# What erased people had taken back for addresses that others may read too. By ix_consents_customer.
_KEEP_WITHDRAWALS = text("""
    INSERT INTO suppressions (address_hash, channel, reason, at)
    SELECT address_hash, CASE channel WHEN 'all' THEN 'email' ELSE channel END, 'withdrawn', max(at)
    FROM consents
    WHERE customer_id = ANY(CAST(:customers AS uuid[])) AND state = 'unsubscribed' AND purpose = 'marketing'
        AND address_hash IS NOT NULL
    GROUP BY 1, 2
    ON CONFLICT (address_hash, channel, reason) DO UPDATE SET
        at = greatest(suppressions.at, excluded.at), released_at = NULL, released_by = NULL, release_note = NULL
""")


async def suppress(
    session: WriteSession,
    channel: str,
    addresses: Iterable[str],
    *,
    reason: str,
    at: datetime,
    message_id: UUID | None = None,
    actor: str | None = None,
    note: str | None = None,
) -> None:
    """Send nothing to these addresses any more, or no marketing; a standing suppression of the same class stays as it
    is. One that was released or has lapsed, or that a consent may have lifted, begins anew. What an erasure suppresses
    is kept as a hash alone.
    """
    key = await secret(session, PSEUDONYMS)
    hashes = {address_pseudonym(key, channel, address): address.strip() for address in addresses}
    lasts = LASTS.get(reason)
    rows = [
        {
            "address_hash": each,
            "channel": channel,
            "reason": reason,
            "at": at,
            "message_id": message_id,
            "address": None if reason == Cause.ERASED else hashes[each],
            "until": None if lasts is None else at + lasts,
            "actor": actor,
            "note": note,
        }
        for each in sorted(hashes)
    ]
    if rows:
        await session.execute(_UPSERT, rows)
        await restore_journal.note(session, [_noted(row) for row in rows])


def _noted(row: Mapping[str, Any]) -> AddressSuppressed:
    copied = ("channel", "reason", "at", "until", "actor")
    return AddressSuppressed(address=row["address_hash"], **{name: row[name] for name in copied})


async def release_hash(session: WriteSession, entry: Released) -> None:
    """End a suppression of which the hash is known, unless it was made after that."""
    released = update(Suppression).where(
        Suppression.address_hash == entry.address,
        Suppression.channel == entry.channel,
        Suppression.reason == entry.reason,
        Suppression.released_at.is_(None),
        Suppression.at <= entry.at,
    )
    await session.execute(released.values(released_at=entry.at, released_by=entry.by))


async def released_since(session: ReadSession, entry: AddressSuppressed, at: datetime) -> bool:
    """Whether somebody has ended that suppression after `at`. By pk_suppressions."""
    key = (entry.address, entry.channel, entry.reason)
    row = await session.get(Suppression, key, populate_existing=True)
    return row is not None and row.released_at is not None and row.released_at > at


async def suppress_hashes(session: WriteSession, entries: Sequence[AddressSuppressed]) -> None:
    """The same for addresses of which the hash is all that is known."""
    nothing = dict.fromkeys(("message_id", "address", "note"))
    rows = [
        {"address_hash": each.address, **each.model_dump(exclude={"kind", "address"}), **nothing} for each in entries
    ]
    if rows:
        await session.execute(_UPSERT, rows)


_NEW = insert(Suppression)
_UPSERT = _NEW.on_conflict_do_update(
    index_elements=["address_hash", "channel", "reason"],
    set_={name: _NEW.excluded[name] for name in ("at", "message_id", "address", "until", "actor", "note")}
    | dict.fromkeys(("released_at", "released_by", "release_note")),
    where=or_(
        Suppression.released_at.is_not(None),
        Suppression.until <= _NEW.excluded.at,
        and_(or_(*(Suppression.reason == each for each in LIFTED_BY_CONSENT)), Suppression.at < _NEW.excluded.at),
    ),
)


def stands(as_of: datetime) -> ColumnElement[bool]:
    """Whether a suppression is in force: neither released nor lapsed."""
    return and_(Suppression.released_at.is_(None), or_(Suppression.until.is_(None), Suppression.until > as_of))


async def suppressions_of(
    session: ReadSession, channel: str, addresses: Collection[str], as_of: datetime
) -> dict[str, list[Suppression]]:
    """By address, the suppressions in force. Without the key of the hashes nobody was ever suppressed."""
    key = await known_secret(session, PSEUDONYMS)
    hashes = {} if key is None else {each: one for one in addresses for each in address_pseudonyms(key, channel, one)}
    found: dict[str, list[Suppression]] = {}
    if hashes:
        asked = (Suppression.address_hash.in_(hashes), Suppression.channel == channel, stands(as_of))
        for row in await session.scalars(select(Suppression).where(*asked).order_by(Suppression.at)):
            found.setdefault(hashes[row.address_hash], []).append(row)
    return found


def as_suppressed(rows: Iterable[Suppression]) -> list[Suppressed]:
    """What the gate asks of them."""
    return [Suppressed(row.reason, row.at) for row in rows]


async def keep_withdrawals(session: WriteSession, customers: Sequence[UUID]) -> None:
    """What these people, who are being erased, took back for a mailbox stays taken back for whoever else reads it."""
    await session.execute(_KEEP_WITHDRAWALS, {"customers": list(customers)})
