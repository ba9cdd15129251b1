"""The hard send rate of each provider, shared by all worker processes: GCRA with a capacity of one message."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select, text
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Table
from database.messages import Message
from database.session import ReadSession, WriteSession
from domain.messages import MessageState


class ProviderRate(Table):
    """The hard send rate of a provider: GCRA with capacity 1. `tat` is the earliest instant of the next attempt."""

    __tablename__ = "provider_rates"

    provider: Mapped[str] = mapped_column(primary_key=True)
    tat: Mapped[datetime]
    transactional_until: Mapped[
        datetime
    ]  # while it lies ahead, marketing waits: a transactional message stands in line


@dataclass(frozen=True, slots=True)
class Granted:
    """The provider may be called now; `at` is the instant that was granted, by the database's clock."""

    at: datetime


@dataclass(frozen=True, slots=True)
class NotYet:
    """Ask again after `wait`."""

    wait: timedelta


_REGISTER = text("""
    INSERT INTO provider_rates (provider, tat, transactional_until)
    VALUES (:provider, '2000-01-01Z', '2000-01-01Z')
    ON CONFLICT DO NOTHING
""")

# One attempt a spacing: whoever finds `tat` in the past takes the place and moves it on. The row's lock makes processes
# take turns; the condition is judged again after the wait for it. A refused transactional message leaves its mark, and
# while that lies ahead marketing stands back; who is served takes it away, who still waits renews it.
# By pk_provider_rates.
_TAKE = text("""
    WITH clock AS (
        SELECT coalesce(CAST(:now AS timestamptz), clock_timestamp()) AS now
    ), taken AS (
        UPDATE provider_rates
        SET tat = clock.now + CAST(:spacing AS interval),
            transactional_until = CASE WHEN :is_transactional THEN clock.now ELSE transactional_until END
        FROM clock
        WHERE provider = :provider AND tat <= clock.now AND (:is_transactional OR transactional_until <= clock.now)
        RETURNING clock.now AS at
    )
    SELECT
        clock.now, (SELECT at FROM taken) AS at,
        CASE WHEN :is_transactional THEN rates.tat ELSE greatest(rates.tat, rates.transactional_until) END AS next
    FROM clock CROSS JOIN provider_rates AS rates
    WHERE rates.provider = :provider
""")

_STAND_IN_LINE = text("""
    UPDATE provider_rates SET transactional_until = greatest(transactional_until, CAST(:until AS timestamptz))
    WHERE provider = :provider
""")

_PAUSE = text("""
    UPDATE provider_rates SET tat = greatest(tat, clock_timestamp() + CAST(:length AS interval))
    WHERE provider = :provider
""")

_PATIENCE = timedelta(milliseconds=250)
"""How long after its next chance a transactional message keeps its mark; it renews it whenever it asks."""


async def take(
    session: WriteSession, provider: str, *, spacing: timedelta, is_transactional: bool, now: datetime | None = None
) -> Granted | NotYet:
    """Ask for the next attempt at a provider. `now` None is the database's clock, the same for all processes."""
    inputs = {"provider": provider, "spacing": spacing, "is_transactional": is_transactional, "now": now}
    row = (await session.execute(_TAKE, inputs)).one_or_none()
    if row is None:
        await session.execute(_REGISTER, {"provider": provider})
        return await take(session, provider, spacing=spacing, is_transactional=is_transactional, now=now)
    if row.at is not None:
        return Granted(row.at)
    until = max(row.next, row.now)
    if is_transactional:
        await session.execute(_STAND_IN_LINE, {"provider": provider, "until": until + _PATIENCE})
    return NotYet(max(until - row.now, timedelta(milliseconds=1)))


async def pause(session: WriteSession, provider: str, length: timedelta) -> None:
    """Nobody calls the provider for so long: it asked for that."""
    await session.execute(_PAUSE, {"provider": provider, "length": length})


async def waiting(session: ReadSession, channel: str) -> int:
    """How many messages stand in line on a channel. By ix_messages_claimed."""
    statement = select(func.count()).where(Message.channel == channel, Message.state == MessageState.CLAIMED)
    return (await session.execute(statement)).scalar_one()
