"""How accounts are loaded for moves: locked first, then no more of their lots and holds than the moves can need.

What they become is written in `transactions.py`; the tables are in `ledger.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import assert_never
from uuid import UUID

from sqlalchemy import RowMapping, TextClause, text

from database.ledger import digest
from database.run_looks import LOOKING_AT_POINTS
from database.session import ReadSession
from domain.accounts import NEVER, Account, Bucket, HeldPoints, HoldState, Lot, Part, Use
from domain.book import Book
from domain.ids import new_id
from domain.points import (
    Activate,
    Balance,
    Capture,
    Clawback,
    Credit,
    Debit,
    GiveBack,
    Hold,
    Merge,
    Move,
    Moved,
    Release,
    Restore,
    Transfer,
)
from domain.transactions import Kind, PastMove

# The accounts of a batch, locked in order of id so that no two batches wait for each other. Relies on
# pk_point_balances. A statement of its own: what is read with a lock that was waited for may be older than the lock.
_LOCK = text("""
    SELECT * FROM point_balances WHERE programme = :programme AND account = ANY(CAST(:accounts AS uuid[]))
    ORDER BY account FOR UPDATE
""")
_READ = text("""
    SELECT * FROM point_balances WHERE programme = :programme AND account = ANY(CAST(:accounts AS uuid[]))
""")
_OPEN = text("""
    INSERT INTO point_balances (programme, account)
    SELECT :programme, account FROM unnest(CAST(:accounts AS uuid[])) AS new (account) ORDER BY account
    ON CONFLICT DO NOTHING
""")

# Everything else in one go; the rows come as arrays of records, in the order of the fields that they are read into.
# `past`: transactions under the keys of moves or that moves refer to, as their accounts are called after merges, and
# what clawbacks and expiry have taken of each. Relies on uq_point_transactions_programme_key and
# ix_point_transactions_of.
# `parts`: what holds, debits and captures took out of lots, less what was taken on or given back since.
# `usable`: active lots in the order of use, up to the points that are wanted and the one after: it falls due first of
# those that are left. Relies on ix_point_lots_turn, as `waiting` does; one lot has at least one point.
# `lookers`: the workflows to wake when the accounts change.
_CONTENTS = text(f"""
    WITH past AS MATERIALIZED (
        SELECT
            past.id, coalesce(balances.merged_into, past.account) AS account, past.key, past.fingerprint, past.kind,
            past.points, past.answer,
            coalesce(taken.clawed, 0)::bigint AS clawed, coalesce(taken.reversed, 0)::bigint AS reversed,
            (coalesce((
                SELECT sum(points) FROM point_consumptions
                WHERE use = 'expired' AND lot_id IN (
                    SELECT past.id UNION ALL SELECT id FROM point_lots WHERE origin = past.id AND id <> origin
                )
            ), 0) + coalesce(taken.lapsed, 0))::bigint AS expired
        FROM point_transactions AS past
        LEFT JOIN LATERAL (
            SELECT
                sum(-entry.amount) FILTER (WHERE entry.bucket IN ('available', 'pending', 'expired')) AS clawed,
                sum(entry.amount) FILTER (WHERE entry.bucket = 'reversed') AS reversed,
                sum(entry.amount) FILTER (WHERE entry.bucket = 'expired') AS lapsed
            FROM point_transactions AS back JOIN point_entries AS entry ON entry.transaction_id = back.id
            WHERE back.of = past.id AND back.kind IN ('clawback', 'restore')
        ) AS taken ON true
        LEFT JOIN point_balances AS balances
            ON balances.programme = past.programme AND balances.account = past.account
        WHERE past.programme = :programme
            AND (past.key = ANY(CAST(:keys AS bytea[])) OR past.id = ANY(CAST(:ids AS uuid[])))
    ),
    holds AS MATERIALIZED (
        SELECT id, account, transaction_id, points, expires_at, state, captured FROM point_holds
        WHERE programme = :programme AND id = ANY(ARRAY(
            SELECT id FROM point_holds
            WHERE programme = :programme AND account = ANY(CAST(:accounts AS uuid[])) AND state = 'open'
            UNION ALL SELECT unnest(CAST(:holds AS uuid[]))
        ))
    ),
    parts AS MATERIALIZED (
        SELECT taken.transaction_id, taken.id, taken.lot_id, taken.use, taken.points - coalesce((
            SELECT sum(points) FROM point_consumptions AS later WHERE later.follows = taken.id
        ), 0)::bigint AS left
        FROM point_consumptions AS taken
        WHERE taken.use IN ('held', 'redeemed', 'reversed') AND taken.transaction_id = ANY(ARRAY(
            SELECT id FROM past UNION ALL SELECT transaction_id FROM holds
        ))
    ),
    usable AS (
        SELECT lots.id
        FROM unnest(CAST(:accounts AS uuid[]), CAST(:points AS bigint[])) AS wanted (account, points)
        CROSS JOIN LATERAL (
            SELECT id, sum(remaining) OVER (ORDER BY expires_at, number, id) - remaining AS before FROM (
                SELECT id, remaining, expires_at, number FROM point_lots
                WHERE programme = :programme AND account = wanted.account AND remaining > 0 AND NOT is_pending
                ORDER BY expires_at, number, id
                LIMIT wanted.points + 1
            ) AS first
        ) AS lots
        WHERE wanted.points IS NULL OR lots.before <= wanted.points
    ),
    waiting AS (
        SELECT id FROM point_lots
        WHERE programme = :programme AND account = ANY(CAST(:accounts AS uuid[])) AND remaining > 0 AND is_pending
    )
    SELECT
        ARRAY(
            SELECT ROW(id, account, key, fingerprint, kind, points, answer, clawed, reversed, expired) FROM past
        ) AS past,
        ARRAY(SELECT ROW(id, account, transaction_id, points, expires_at, state, captured) FROM holds) AS holds,
        ARRAY(SELECT ROW(transaction_id, id, lot_id, use, "left") FROM parts ORDER BY id) AS parts,
        ARRAY(
            SELECT ROW(
                id, account, origin, kind, source, original, remaining, number, earned_at, activates_at, expires_at,
                is_pending
            )
            FROM point_lots
            WHERE id = ANY(ARRAY(
                SELECT id FROM usable UNION ALL SELECT id FROM waiting
                UNION ALL SELECT lot_id FROM parts WHERE "left" > 0
            ))
        ) AS lots,
        EXISTS (SELECT FROM point_thresholds) AS is_watched,
        ARRAY({LOOKING_AT_POINTS}) AS lookers
""")  # noqa: S608  a constant of ours


async def load(
    session: ReadSession,
    programme: str,
    accounts: Collection[UUID],
    as_of: datetime,
    moves: Sequence[Move] = (),
    *,
    lock: bool,
    whole: bool = False,
) -> Book:
    """What is stored about accounts, as far as settling them and moves at `as_of` need it; all of it if `whole`.

    Locked until the transaction ends, or only read.
    """
    found = await (_lock if lock else _read)(session, programme, accounts)
    book = Book({id_: found.get(id_) or Account(id_) for id_ in sorted(accounts)}, new_id)
    wanted = _wanted(book.accounts.values(), moves, as_of, whole=whole)
    by_digest = {digest(programme, key): key for key in _keys(moves)}
    if by_digest or wanted:
        holds = [move.hold_id for move in moves if isinstance(move, Capture | Release)]
        ids = [move.of for move in moves if isinstance(move, Restore) and isinstance(move.of, UUID)]
        given = {"programme": programme, "keys": list(by_digest), "ids": ids, "holds": holds}
        lots = {"accounts": list(wanted), "points": list(wanted.values())}
        given["customers"] = list(accounts) if lock else []
        contents = (await session.execute(_CONTENTS, {**given, **lots})).mappings().one()
        _fill(book, contents, by_digest)
    for id_ in wanted:
        book.accounts[id_].unseen_due = NEVER
    return book


async def _lock(session: ReadSession, programme: str, accounts: Collection[UUID]) -> dict[UUID, Account]:
    found = await _balances(session, programme, accounts, _LOCK)
    if len(found) < len(set(accounts)):
        await session.execute(_OPEN, {"programme": programme, "accounts": sorted(set(accounts) - set(found))})
        found = await _balances(session, programme, accounts, _LOCK)
    return found


async def _read(session: ReadSession, programme: str, accounts: Collection[UUID]) -> dict[UUID, Account]:
    return await _balances(session, programme, accounts, _READ)


async def _balances(
    session: ReadSession, programme: str, accounts: Collection[UUID], statement: TextClause
) -> dict[UUID, Account]:
    rows = await session.execute(statement, {"programme": programme, "accounts": sorted(accounts)})
    return {row["account"]: _account(row) for row in rows.mappings()}


def _account(row: RowMapping) -> Account:  # a row of point_balances
    buckets = {bucket: row[bucket.value] for bucket in Bucket}
    due = row["next_due"] or NEVER
    return Account(row["account"], buckets, deficit=row["deficit"], number=row["number"], unseen_due=due)


def _keys(moves: Iterable[Move]) -> set[str]:
    keys = {move.key for move in moves}
    told = {move.of for move in moves if isinstance(move, Restore | Activate | Clawback | GiveBack)}
    return keys | {of for of in told if isinstance(of, str)}


def _wanted(
    accounts: Iterable[Account], moves: Sequence[Move], as_of: datetime, *, whole: bool
) -> dict[UUID, int | None]:
    """By account, how many active points moves can take; None where any lot may matter, absent where none does."""
    everything = {account.id for account in accounts if whole or account.unseen_due <= as_of}
    taken: Counter[UUID] = Counter()
    for move in moves:
        match move:
            case Credit() | GiveBack():  # what is there already does not matter, however many lots it is
                pass
            case Debit() | Hold() | Transfer():
                taken[move.account] += max(0, move.points)
            case Capture() | Release() | Restore():  # these name their lots
                taken[move.account] += 0
            case Activate() | Clawback():
                everything.add(move.account)
            case Merge():
                everything |= {move.account, move.to}
            case _ as unreachable:
                assert_never(unreachable)
    return {**taken, **dict.fromkeys(everything)}


def _fill(book: Book, contents: RowMapping, by_digest: Mapping[bytes, str]) -> None:  # the row of _CONTENTS
    book.is_watched, book.lookers = contents["is_watched"], contents["lookers"]
    parts: dict[UUID, list[Part]] = {}
    for transaction_id, id_, lot_id, use, left in contents["parts"]:
        parts.setdefault(transaction_id, []).append(Part(id_, lot_id, Use(use), left))
    for id_, account, key, fingerprint, kind, points, answer, clawed, back, expired in contents["past"]:
        book.past[by_digest.get(key, id_)] = PastMove(
            transaction_id=id_,
            account=account,
            kind=Kind(kind),
            fingerprint=fingerprint,
            answer=Moved(id_, Balance(**answer["balance"]), points, detail=answer["detail"]),
            points=points,
            parts=[part for part in parts.get(id_, []) if part.use is not Use.HELD],
            clawed=clawed,
            reversed=back,
            expired=expired,
        )
    for id_, account, transaction_id, points, expires_at, state, captured in contents["holds"]:
        held = [part for part in parts.get(transaction_id, []) if part.use is Use.HELD]
        hold = HeldPoints(id_, account, transaction_id, points, expires_at, HoldState(state), held, captured)
        book.holds[hold.id] = hold
        if hold.state is HoldState.OPEN and hold.account in book.accounts:
            book.accounts[hold.account].holds[hold.id] = hold
    for row in contents["lots"]:
        lot = Lot(*row)
        if lot.account in book.accounts:
            book.accounts[lot.account].lots[lot.id] = lot
