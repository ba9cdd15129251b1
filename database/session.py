"""Sessions: reading and writing are different types, and only `transaction()` commits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import event, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from database.fair_pool import FairPool
from database.incarnations import Admission
from database.outages import FULL, sqlstate_of
from database.pools import LONG, ROUTER, Pool

_GRACE_SECONDS = 5.0
"""How much later than PostgreSQL we end a transaction ourselves: for a server that is frozen and ends nothing."""

# A limit that runs is not made longer by a new value, so it is first switched off.
_TAKE_LONG = text("""
    SELECT set_config('transaction_timeout', '0', true), set_config('transaction_timeout', :limit, true),
        set_config('statement_timeout', :limit, true), set_config('idle_in_transaction_session_timeout', :limit, true)
""")


class ReadSession(AsyncSession):
    """A session that only reads."""

    async def take_long(self) -> None:
        """Let this transaction take five minutes: for exports, erasures, sweeps, dry runs and simulations."""
        await self.execute(_TAKE_LONG, {"limit": f"{LONG}s"})
        deadline: asyncio.Timeout = self.info["deadline"]
        deadline.reschedule(asyncio.get_running_loop().time() + LONG + _GRACE_SECONDS)


class WriteSession(ReadSession):
    """A session inside one transaction that may write."""


class Database:
    """Bounded connections to one PostgreSQL database. `url` is `postgresql://user:password@host:port/name`.

    `pool` says how many, and how long anything may take; `pool_size` is another number of connections. `admission`
    refuses connections to a database that was restored meanwhile.
    """

    def __init__(
        self,
        url: str,
        *,
        pool: Pool = ROUTER,
        pool_size: int | None = None,
        application_name: str = "perennial",
        admission: Admission | None = None,
    ) -> None:
        self.url = url
        self.admission = admission
        self.pool = pool if pool_size is None else replace(pool, size=pool_size)
        self.is_full = False
        """Whether the last write that needed room found none; `database.readiness` looks again."""
        self.engine = create_async_engine(
            url.replace("postgresql://", "postgresql+asyncpg://", 1),
            poolclass=FairPool,
            pool_size=self.pool.size,
            max_overflow=0,
            hide_parameters=True,  # what customers said stays out of messages and logs
            pool_timeout=self.pool.wait,
            pool_recycle=1_800,
            json_serializer=_dump,
            json_deserializer=orjson.loads,
            connect_args={
                "timeout": self.pool.wait,
                "server_settings": {
                    "application_name": application_name,
                    "timezone": "UTC",
                    **self.pool.server_settings(),
                },
            },
        )
        event.listen(self.engine.sync_engine, "connect", _plain_uuids)
        event.listen(self.engine.sync_engine, "connect", _take_role)
        if admission is not None:
            event.listen(self.engine.sync_engine, "connect", admission.admit)
        event.listen(self.engine.sync_engine, "checkout", _replace_dead)
        event.listen(self.engine.sync_engine, "handle_error", self._note)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[ReadSession]:
        """One consistent reading; nothing it does is kept. Raises TimeoutError when it takes too long."""
        async with self._in_time() as deadline, ReadSession(self.engine, expire_on_commit=False) as session:
            session.info["deadline"] = deadline
            yield session

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[WriteSession]:
        """One transaction: committed when the block ends well, rolled back when it raises. Raises TimeoutError when it
        takes too long: then it is not known whether it was committed.
        """
        async with (
            self._in_time() as deadline,
            WriteSession(self.engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            session.info["deadline"] = deadline
            yield session

    async def close(self) -> None:
        """Give all connections back."""
        await self.engine.dispose()

    def _in_time(self) -> asyncio.Timeout:
        limit = self.pool.transaction
        return asyncio.timeout(self.pool.wait + limit + _GRACE_SECONDS if limit else None)

    def _note(self, context: ExceptionContext) -> None:
        if sqlstate_of(context.original_exception) == FULL:
            self.is_full = True


def _replace_dead(connection: Any, *_: object) -> None:  # SQLAlchemy's adapter of an asyncpg connection
    """What the server has ended is known here without asking it: the pool makes a new one in its place."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError("the server has ended this connection")


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
