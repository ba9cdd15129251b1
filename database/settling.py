"""Accounts in which something is due, settled page by page; and points that will expire, for warnings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from uuid import UUID

from sqlalchemy import text

from database.accounts import load
from database.customers import lock
from database.session import ReadSession, WriteSession
from database.thresholds import tell_crossings
from database.transactions import store
from domain.settling import settle


@dataclass(frozen=True, slots=True)
class DueAccount:
    """An account in which something was due at `at`; where a sweep stands."""

    at: datetime
    programme: str
    account: UUID


# Read without a lock; who is settled leaves the index, so that a sweep that is broken off goes on by itself. Relies on
# ix_point_balances_due.
_DUE = text("""
    SELECT next_due AS at, programme, account FROM point_balances
    WHERE next_due <= :as_of
      AND (CAST(:at AS timestamptz) IS NULL OR (next_due, programme, account) > (:at, :programme, :account))
    ORDER BY next_due, programme, account
    LIMIT :limit
""")


async def due_accounts(
    session: ReadSession, as_of: datetime, *, after: DueAccount | None, limit: int
) -> list[DueAccount]:
    """Some accounts in which something was due by `as_of`, the longest due first, `after` the last one seen."""
    place = {"at": None, "programme": None, "account": None} if after is None else _place(after)
    rows = await session.execute(_DUE, {**place, "as_of": as_of, "limit": limit})
    return [DueAccount(*row) for row in rows]


def _place(after: DueAccount) -> dict[str, object]:
    return {"at": after.at, "programme": after.programme, "account": after.account}


async def settle_accounts(
    session: WriteSession, due: Sequence[DueAccount], as_of: datetime, *, wait: bool = False
) -> int:
    """Settle these accounts as any move would do, looking again under the lock; answers how many transactions it took.

    Customers are locked first, as everywhere. Whom somebody else is busy with is left for later, unless told to `wait`.
    """
    free = await lock(session, {each.account for each in due}, skip_locked=not wait)
    written = 0
    for programme, theirs in groupby(sorted(due, key=lambda each: each.programme), key=lambda each: each.programme):
        accounts = [each.account for each in theirs if each.account in free]
        if accounts:
            book = await load(session, programme, accounts, as_of, lock=True)
            for account in book.accounts.values():
                settle(book, account, as_of)
            await store(session, programme, book, as_of)
            await tell_crossings(session, programme, book, as_of)
            written += len(book.written)
    return written


@dataclass(frozen=True, slots=True)
class ExpiringPoints:
    """Points of one customer that expire at one moment."""

    programme: str
    account: UUID
    user_id: str
    at: datetime
    points: int


# Customers whom the shop knows; the others could not be told. Relies on ix_point_lots_expiring.
_EXPIRING = text("""
    SELECT lots.programme, lots.account, customers.external_id AS user_id, lots.expires_at AS at,
        sum(lots.remaining)::bigint AS points
    FROM point_lots AS lots
    JOIN customers ON customers.id = lots.account AND customers.external_id IS NOT NULL
    WHERE lots.programme = :programme AND lots.remaining > 0 AND lots.expires_at > :since AND lots.expires_at <= :until
      AND (CAST(:at AS timestamptz) IS NULL OR (lots.expires_at, lots.account) > (:at, :account))
    GROUP BY lots.programme, lots.account, customers.external_id, lots.expires_at
    ORDER BY lots.expires_at, lots.account
    LIMIT :limit
""")


async def expiring_points(
    session: ReadSession, programme: str, since: datetime, until: datetime, *, after: ExpiringPoints | None, limit: int
) -> list[ExpiringPoints]:
    """What expires of a programme's points in `(since, until]`, in order of time; `after` the last one seen."""
    place = {"at": after.at if after else None, "account": after.account if after else None}
    rows = await session.execute(
        _EXPIRING, {**place, "programme": programme, "since": since, "until": until, "limit": limit}
    )
    return [ExpiringPoints(*row) for row in rows]
