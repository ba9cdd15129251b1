"""API keys (only their SHA-256 is kept) and the answers given under idempotency keys."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Index, LargeBinary, SmallInteger, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Created, Json, JsonList, Table
from database.session import ReadSession, WriteSession
from domain.errors import Conflict, NotFound
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
from domain.sources import is_reserved, is_taken, parted

_TAKEN = "source_taken"
FORGOTTEN = 0
"""The status of an answer that is no longer kept (database/ageing.py)."""
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

    __table_args__ = (
        Index("ix_idempotency_keys_customer_id", "customer_id"),
        Index("ix_idempotency_keys_answered", "created_at", postgresql_where=text("status <> 0")),
    )


async def create(
    session: WriteSession, name: str, kind: KeyKind, scopes: frozenset[Scope], *, replaces: str | None = None
) -> tuple[StoredKey, str]:
    """A new key and its written form, which is shown this once.

    Its source is its name, or that of the revoked key of its kind that it `replaces`, so that message ids go on.
    Raises Conflict `source_taken`, `key_not_revoked` or `key_kind_differs`, and NotFound.
    """
    checked = checked_scopes(kind, scopes)
    await session.execute(text("SELECT pg_advisory_xact_lock(hashtext('key sources'))"))
    source = await _free_source(session, name) if replaces is None else await _source_of(session, replaces, kind)
    key_id = KeyId(_random(ID_LENGTH))
    written = write_out(key_id, _random(SECRET_LENGTH))
    key = Key(
        id=key_id,
        name=name,
        source=source,
        kind=kind,
        scopes=sorted(checked),
        secret_hash=digest(written),
    )
    session.add(key)
    await session.flush()
    return _stored(key), written


async def _free_source(session: ReadSession, name: str) -> str:
    """A name that no key has had before; the caller holds the lock of sources."""
    others = (await session.scalars(select(Key.source))).all()
    if is_reserved(name):
        raise Conflict(f"The source {name} is the product's own, or is read as it: choose another.", code=_TAKEN)
    if is_taken(name, others):
        detail = f"Another key has the source {name}: choose another name, or revoke that key and replace it."
        raise Conflict(detail, code=_TAKEN)
    return name


async def _source_of(session: ReadSession, replaced: str, kind: KeyKind) -> str:
    """What a revoked key leaves to its successor, of which there is one at a time."""
    old = await session.get(Key, replaced)
    if old is None:
        raise NotFound(f"no key {replaced}", code="key_not_found")
    if old.kind != kind:
        raise Conflict(
            f"The key {replaced} is a {old.kind} key: only another one replaces it.", code="key_kind_differs"
        )
    if old.revoked_at is None:
        raise Conflict(f"The key {replaced} is in use: revoke it first, or rotate it.", code="key_not_revoked")
    heirs = select(Key.id).where(Key.source == old.source, Key.revoked_at.is_(None))
    if heir := await session.scalar(heirs.limit(1)):
        raise Conflict(f"The key {heir} has the source {old.source} already.", code=_TAKEN)
    return old.source


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
    """What is stored of a key, revoked ones too.

    A browser key from before names were unique, which has the name of a server's, gets a source of its own: the page's
    message ids never stand in the way of the server's.
    """
    key = await session.get(Key, key_id)
    if key is None or key.kind != KeyKind.BROWSER:
        return _stored(key) if key else None
    servers = (await session.scalars(select(Key.source).where(Key.kind == KeyKind.SECRET))).all()
    clashes = is_reserved(key.source) or is_taken(key.source, servers)
    return replace(_stored(key), source=parted(key.source, key.id)) if clashes else _stored(key)


async def everything(session: ReadSession) -> Sequence[StoredKey]:
    """All keys, the newest last."""
    return [_stored(key) for key in await session.scalars(select(Key).order_by(Key.created_at, Key.id))]


async def note_use(session: WriteSession, key_id: str, as_of: datetime) -> None:
    """Record that the key was used, at most once a minute however many processes ask for it."""
    is_old = Key.last_used_at.is_(None) | (Key.last_used_at < as_of - LAST_USE_EVERY)
    await session.execute(update(Key).where(Key.id == key_id, is_old).values(last_used_at=as_of))


_LOCK_IDEMPOTENCY_KEY = text("""
    SELECT pg_try_advisory_xact_lock(hashtextextended('idempotency/' || :scope || '/' || :key, 0))
""")


async def lock_idempotency_key(session: WriteSession, scope: str, key: str) -> bool:
    """Whether this transaction holds the key now; never waits for the one that does."""
    return bool(await session.scalar(_LOCK_IDEMPOTENCY_KEY, {"scope": scope, "key": key}))


async def claim_idempotency_key(
    session: WriteSession, scope: str, key: str, fingerprint: bytes
) -> IdempotencyKey | None:
    """Take a locked idempotency key for this transaction; None if it is ours now, else the row of who had it before."""
    statement = insert(IdempotencyKey).on_conflict_do_nothing().returning(IdempotencyKey.key)
    row = {"scope": scope, "key": key, "fingerprint": fingerprint, "status": 0, "headers": {}, "body": b""}
    claimed = await session.scalar(statement, row)
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
