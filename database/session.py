"""Sessions: reading and writing are different types, and only `transaction()` commits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine


class ReadSession(AsyncSession):
    """A session that only reads."""


class WriteSession(ReadSession):
    """A session inside one transaction that may write."""


class Database:
    """A bounded connection pool to one PostgreSQL database. `url` is `postgresql://user:password@host:port/name`."""

    def __init__(self, url: str, *, pool_size: int = 10, application_name: str = "perennial") -> None:
        self.url = url
        self.engine = create_async_engine(
            url.replace("postgresql://", "postgresql+asyncpg://", 1),
            pool_size=pool_size,
            max_overflow=0,
            hide_parameters=True,  # what customers said stays out of messages and logs
            pool_timeout=30,
            pool_recycle=1_800,
            json_serializer=_dump,
            json_deserializer=orjson.loads,
            connect_args={"server_settings": {"application_name": application_name, "timezone": "UTC"}},
        )
        event.listen(self.engine.sync_engine, "connect", _plain_uuids)
        event.listen(self.engine.sync_engine, "connect", _take_role)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[ReadSession]:
        """One consistent reading; nothing it does is kept."""
        async with ReadSession(self.engine, expire_on_commit=False) as session:
            yield session

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[WriteSession]:
        """One transaction: committed when the block ends well, rolled back when it raises."""
        async with WriteSession(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    async def close(self) -> None:
        """Give all connections back."""
        await self.engine.dispose()


def _plain_uuids(connection: Any, _: object) -> None:  # SQLAlchemy's adapter of an asyncpg connection
    """Read ids as `uuid.UUID` itself: asyncpg's own subclass is one that orjson does not serialise."""
    connection.run_async(
        lambda raw: raw.set_type_codec(
            "uuid", schema="pg_catalog", encoder=lambda value: value.bytes, decoder=_uuid, format="binary"
        )
    )


# Before the migration that makes the role there is none to take on; nothing but the schema's revision is read then.
_TAKE_ROLE = """
    SELECT set_config('role', rolname, false) FROM pg_roles
    WHERE rolname = 'perennial_app' AND pg_has_role(current_user, oid, 'SET')
"""


def _take_role(connection: Any, _: object) -> None:  # SQLAlchemy's adapter of an asyncpg connection
    """Work as `perennial_app`, which owns nothing: what the ledger holds cannot be changed (decision 0009)."""
    connection.run_async(lambda raw: raw.execute(_TAKE_ROLE))


def _uuid(value: bytes) -> UUID:
    return UUID(bytes=bytes(value))


def _dump(value: object) -> str:
    return orjson.dumps(value).decode()
