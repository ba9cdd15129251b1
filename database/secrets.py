"""Secrets that the program makes for itself at first use, one row each, shared by all its processes."""

from __future__ import annotations

import secrets

from sqlalchemy import LargeBinary, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Created, Table
from database.session import ReadSession, WriteSession

PSEUDONYMS = "pseudonyms"
"""Keys the hashes of domain/pseudonyms.py: suppressed addresses and erased identities. Made by a migration, so that
every backup knows it: the restore journal's hashes are worth nothing without it.
"""


class Secret(Table):
    """32 random bytes under a name."""

    __tablename__ = "secrets"

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[Created]


async def known_secret(session: ReadSession, name: str) -> bytes | None:
    """The secret of that name; None if nobody has needed it yet, and so nothing was made with it."""
    return (await session.execute(select(Secret.value).where(Secret.name == name))).scalar_one_or_none()


async def secret(session: WriteSession, name: str) -> bytes:
    """The secret of that name, made now if nobody has needed it before."""
    known = await known_secret(session, name)
    if known is not None:
        return known
    fresh = insert(Secret).values(name=name, value=secrets.token_bytes(32))
    await session.execute(fresh.on_conflict_do_nothing())
    return (await session.execute(select(Secret.value).where(Secret.name == name))).scalar_one()
