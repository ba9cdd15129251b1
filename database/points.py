"""Points: the one way to move them, and how they are read. Loading and storing: `accounts.py`, `transactions.py`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, text, tuple_

from database.accounts import load
from database.earned_points import earned_points
from database.ledger import PointBalance, PointHold, PointTransaction, digest
from database.session import ReadSession, WriteSession
from database.thresholds import tell_crossings
from database.transactions import store
from domain.accounts import Lot
from domain.ledger import accounts_of, apply
from domain.points import Balance, Merge, Move, Moved
from domain.settling import settle


async def post(
    session: WriteSession,
    programme: str,
    moves: Sequence[Move],
    as_of: datetime,
    *,
    reasons: Mapping[str, str] | None = None,
    depth: int = 0,
    quiet: bool = False,
) -> list[Moved]:
    """Do moves in order, all in this transaction; answers one outcome for each, in the same order.

    Locks the accounts' balances in order of id; who also locks customers does so before. A refused move writes nothing;
    the others are done. A key that has moved before gets its first answer again. `reasons`: by key, what somebody
    wrote about the move; kept apart from the ledger, and removed with the customer. Crossed thresholds are announced
    unless `quiet`; `depth` is that of the chain of journeys that makes the moves.
    """
    if not moves:
        return []
    accounts = {id_ for move in moves for id_ in accounts_of(move)}
    book = await load(session, programme, accounts, as_of, moves, lock=True)
    outcomes = [apply(book, move, as_of) for move in moves]
    await store(session, programme, book, as_of, reasons)
    if not quiet:
        await tell_crossings(session, programme, book, as_of, depth=depth)
    return outcomes


async def known_keys(session: ReadSession, programme: str, keys: Collection[str]) -> set[str]:
    """Which of these keys have moved points before. Relies on uq_point_transactions_programme_key."""
    by_digest = {digest(programme, key): key for key in keys}
    statement = select(PointTransaction.key).where(
        PointTransaction.programme == programme, PointTransaction.key.in_(by_digest)
    )
    return {by_digest[key] for key in (await session.scalars(statement)).all()} if keys else set()


async def payers_of(session: ReadSession, programmes: Collection[str], keys: Collection[str]) -> dict[str, str]:
    """Key -> which of these programmes moved points under it. Relies on uq_point_transactions_programme_key."""
    asked = {(programme, digest(programme, key)): key for programme in programmes for key in keys}
    if not asked:
        return {}
    columns = (PointTransaction.programme, PointTransaction.key)
    rows = await session.execute(select(*columns).where(tuple_(*columns).in_(asked)))
    return {asked[programme, key]: programme for programme, key in rows}


# Relies on uq_point_transactions_programme_key and pk_point_lots: a credit's own lot goes by its transaction's id.
_REDATE = text("""
    UPDATE point_lots SET earned_at = told.at
    FROM unnest(CAST(:keys AS bytea[]), CAST(:moments AS timestamptz[])) AS told (key, at)
    JOIN point_transactions AS credit ON credit.programme = :programme AND credit.key = told.key
    WHERE point_lots.id = credit.id
""")


async def redate(
    session: WriteSession, programme: str, accounts: Collection[UUID], earned: Mapping[str, datetime], as_of: datetime
) -> None:
    """Note that credits of these accounts, by their keys, were earned at another time. Nothing moves by it.

    What activates and lapses keeps its dates. Locks the accounts' balances, as whoever moves their points does.
    """
    if not earned:
        return
    await load(session, programme, accounts, as_of, lock=True)
    keys = [digest(programme, key) for key in earned]
    await session.execute(_REDATE, {"programme": programme, "keys": keys, "moments": list(earned.values())})


async def balances(
    session: ReadSession, programme: str, accounts: Collection[UUID], as_of: datetime
) -> dict[UUID, Balance]:
    """The balances as they are at `as_of`, whether or not anything was settled since; zeros for who has no account."""
    book = await load(session, programme, accounts, as_of, lock=False)
    for account in book.accounts.values():
        settle(book, account, as_of)
    return {id_: account.balance() for id_, account in book.accounts.items()}


# Lots and holds pass as they are, with their dates; so do those that are used up, for what may still come back to them.
_PASS_ON = tuple(
    text(f"UPDATE {table} SET account = :survivor WHERE account = :loser")  # noqa: S608  names of our own tables
    for table in ("point_lots", "point_holds")
)
_FORWARD = text("""
    UPDATE point_balances SET merged_into = :survivor, next_due = NULL
    WHERE account = :loser OR merged_into = :loser
""")


async def merge_accounts(session: WriteSession, loser: UUID, survivor: UUID, as_of: datetime) -> None:
    """Pass all points of one customer to another; both are locked. Nothing of it counts as earned or spent."""
    who = {"loser": loser, "survivor": survivor}
    programmes = select(PointBalance.programme).where(PointBalance.account == loser, PointBalance.merged_into.is_(None))
    for programme in (await session.scalars(programmes.order_by(PointBalance.programme))).all():
        await post(session, programme, [Merge(loser, f"merge/{loser}", survivor)], as_of)
    for statement in (*_PASS_ON, _FORWARD):
        await session.execute(statement, who)


@dataclass(frozen=True, slots=True)
class Holdings:
    """An account in full: its balance, what rules paid of it, and its lots with something left, in the order of use."""

    balance: Balance
    earned: int
    lots: Sequence[Lot]


async def lots_of(session: ReadSession, programme: str, account: UUID, as_of: datetime) -> Holdings:
    """What an account consists of at `as_of`: pending lots too, which come last in order of activation."""
    book = await load(session, programme, [account], as_of, lock=False, whole=True)
    found = book.accounts[account]
    settle(book, found, as_of)
    live = [lot for lot in found.lots.values() if lot.remaining]
    earned = await earned_points(session, programme, [account])
    return Holdings(found.balance(), earned[account], sorted(live, key=lambda lot: (lot.is_pending, lot.turn)))


async def owner_of_hold(session: ReadSession, hold_id: UUID) -> tuple[str, UUID] | None:
    """The programme and the account of a hold, as it is called after merges; None if there is no such hold."""
    statement = select(PointHold.programme, PointHold.account).where(PointHold.id == hold_id)
    row = (await session.execute(statement)).one_or_none()
    return None if row is None else (row.programme, row.account)


@dataclass(frozen=True, slots=True)
class Happened:
    """One transaction as its account sees it. `changes`: what it added to each bucket."""

    id: UUID
    at: datetime
    kind: str
    points: int
    source: str
    author: str | None
    reason: str | None
    reference: str | None
    order_id: str | None
    changes: Mapping[str, int]


# The account's own moves and those of accounts that were merged into it, as many of each as one page can show. What
# moved between two of them is left out. Relies on ix_point_entries_history: of a long history one page is read.
_HISTORY = text("""
    WITH own AS (
        SELECT CAST(:account AS uuid) AS account
        UNION
        SELECT account FROM point_balances WHERE programme = :programme AND merged_into = :account
    ), latest AS (
        SELECT DISTINCT page.transaction_id FROM own CROSS JOIN LATERAL (
            SELECT DISTINCT entries.transaction_id FROM point_entries AS entries
            WHERE entries.programme = :programme AND entries.account = own.account
              AND (CAST(:before AS uuid) IS NULL OR entries.transaction_id < :before)
              AND EXISTS (
                  SELECT FROM point_entries AS side JOIN own USING (account)
                  WHERE side.transaction_id = entries.transaction_id AND side.programme = :programme
                  GROUP BY side.bucket HAVING sum(side.amount) <> 0
              )
            ORDER BY entries.transaction_id DESC LIMIT :limit
        ) AS page
    )
    SELECT
        made.id, made.effective_at AS at, made.kind, made.points, made.source, made.author, notes.reason,
        notes.reference, notes.order_id, jsonb_object_agg(own.bucket, own.amount) AS changes
    FROM (
        SELECT entries.transaction_id, entries.bucket, sum(entries.amount)::bigint AS amount
        FROM latest JOIN point_entries AS entries USING (transaction_id) JOIN own USING (account)
        WHERE entries.programme = :programme
        GROUP BY entries.transaction_id, entries.bucket
        HAVING sum(entries.amount) <> 0
    ) AS own
    JOIN point_transactions AS made ON made.id = own.transaction_id
    LEFT JOIN point_notes AS notes ON notes.transaction_id = made.id
    GROUP BY made.id, notes.reason, notes.reference, notes.order_id
    ORDER BY made.id DESC
    LIMIT :limit
""")


async def history(
    session: ReadSession, programme: str, account: UUID, *, before: UUID | None = None, limit: int
) -> list[Happened]:
    """What moved in an account, the latest first; `before` is the id of the last one seen."""
    given = {"programme": programme, "account": account, "before": before, "limit": limit}
    return [Happened(**row) for row in (await session.execute(_HISTORY, given)).mappings()]
