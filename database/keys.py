"""API keys (only their SHA-256 is kept) and the answers given under idempotency keys."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Index, LargeBinary, SmallInteger, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Created, Json, JsonList, Table
from database.session import ReadSession, WriteSession
from domain.errors import NotFound
from domain.ids import KeyId
from domain.keys import (
    ALPHABET,
    ID_LENGTH,
    SECRET_LENGTH,
    KeyKind,
    Scope,
    StoredKey,
    checked_scopes,
    digest,
    write_out,
)

LAST_USE_EVERY = timedelta(minutes=1)
"""How exactly the last use of a key is known."""


class Key(Table):
    """One key; during a rotation the old secret stays valid until `previous_until`."""

    __tablename__ = "keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    source: Mapped[str]  # of the events it brings; outlives the secret, so that de-duplication survives a rotation
    kind: Mapped[str]  # secret | browser
    scopes: Mapped[JsonList]
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary)
    previous_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    previous_until: Mapped[datetime | None]
    created_at: Mapped[Created]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class IdempotencyKey(Table):
    """The answer that was given under an Idempotency-Key, stored in the transaction of what it answers for."""

    __tablename__ = "idempotency_keys"

    scope: Mapped[str] = mapped_column(primary_key=True)  # the API key
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)  # of method, path and body
    status: Mapped[int] = mapped_column(SmallInteger)
    headers: Mapped[Json]
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[Created]
    customer_id: Mapped[UUID | None]  # whose data the answer holds, so that erasure finds it

    __table_args__ = (Index("ix_idempotency_keys_customer_id", "customer_id"),)


async def create(
    session: WriteSession, name: str, kind: KeyKind, scopes: frozenset[Scope], *, source: str | None = None
) -> tuple[StoredKey, str]:
    """A new key and its written form, which is shown this once. `source` is the key's name unless given."""
    key_id = KeyId(_random(ID_LENGTH))
    written = write_out(key_id, _random(SECRET_LENGTH))
    key = Key(
        id=key_id,
        name=name,
        source=source or name,
        kind=kind,
        scopes=sorted(checked_scopes(kind, scopes)),
        secret_hash=digest(written),
    )
    session.add(key)
    await session.flush()
    return _stored(key), written


async def rotate(session: WriteSession, key_id: str, as_of: datetime, overlap: timedelta) -> str:
    """A new secret for a key, whose old one stays good for `overlap`; raises NotFound."""
    written = write_out(key_id, _random(SECRET_LENGTH))
    rotated = await session.execute(
        update(Key)
        .where(Key.id == key_id, Key.revoked_at.is_(None))
        .values(secret_hash=digest(written), previous_hash=Key.secret_hash, previous_until=as_of + overlap)
        .returning(Key.id)
    )
    if rotated.one_or_none() is None:
        raise NotFound(f"no key {key_id}", code="key_not_found")
    return written


async def revoke(session: WriteSession, key_id: str, as_of: datetime) -> None:
    """End a key for good; ending it twice is fine. Raises NotFound."""
    revoked = await session.execute(
        update(Key)
        .where(Key.id == key_id)
        .values(revoked_at=func.coalesce(Key.revoked_at, as_of), previous_hash=None, previous_until=None)
        .returning(Key.id)
    )
    if revoked.one_or_none() is None:
        raise NotFound(f"no key {key_id}", code="key_not_found")


async def find(session: ReadSession, key_id: str) -> StoredKey | None:
    """What is stored of a key, revoked ones too."""
    key = await session.get(Key, key_id)
    return _stored(key) if key else None


async def everything(session: ReadSession) -> Sequence[StoredKey]:
    """All keys, the newest last."""
    return [_stored(key) for key in await session.scalars(select(Key).order_by(Key.created_at, Key.id))]


async def note_use(session: WriteSession, key_id: str, as_of: datetime) -> None:
    """Record that the key was used, at most once a minute however many processes ask for it."""
    is_old = Key.last_used_at.is_(None) | (Key.last_used_at < as_of - LAST_USE_EVERY)
    await session.execute(update(Key).where(Key.id == key_id, is_old).values(last_used_at=as_of))


async def claim_idempotency_key(
    session: WriteSession, scope: str, key: str, fingerprint: bytes, patience: timedelta
) -> IdempotencyKey | None:
    """Take an idempotency key for this transaction, or the row of whoever has had it before; None when it is ours.

    Waits for a transaction that holds the same key, at most `patience`; then PostgreSQL's lock_not_available (55P03).
    """
    wait = text("SELECT set_config('lock_timeout', :milliseconds, true)")
    await session.execute(wait, {"milliseconds": str(int(patience / timedelta(milliseconds=1)))})
    statement = insert(IdempotencyKey).on_conflict_do_nothing().returning(IdempotencyKey.key)
    row = {"scope": scope, "key": key, "fingerprint": fingerprint, "status": 0, "headers": {}, "body": b""}
    claimed = await session.scalar(statement, row)
    await session.execute(wait, {"milliseconds": "0"})
    return None if claimed else await session.get_one(IdempotencyKey, (scope, key))


async def keep_answer(
    session: WriteSession,
    scope: str,
    key: str,
    *,
    status: int,
    headers: dict[str, str],
    body: bytes,
    customer_id: UUID | None,
) -> None:
    """Store the answer to be given to everybody who comes with the claimed key from now on."""
    await session.execute(
        update(IdempotencyKey)
        .where(IdempotencyKey.scope == scope, IdempotencyKey.key == key)
        .values(status=status, headers=headers, body=body, customer_id=customer_id)
    )


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _stored(key: Key) -> StoredKey:
    return StoredKey(
        id=KeyId(key.id),
        name=key.name,
        source=key.source,
        kind=KeyKind(key.kind),
        scopes=frozenset(Scope(scope) for scope in key.scopes),
        secret_hash=key.secret_hash,
        previous_hash=key.previous_hash,
        previous_until=key.previous_until,
        revoked_at=key.revoked_at,
        last_used_at=key.last_used_at,
    )
