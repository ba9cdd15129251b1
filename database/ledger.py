"""The points ledger as it is stored, and how accounts are loaded under a lock and written back.

Members are called `account` (the customer's id) and never re-pointed row by row: transactions, entries and consumptions
are append-only, for the application's role by right and for everybody by triggers. Nothing here is personal; reasons
and references are in `point_notes`, which go with the customer. The rules: `domain/ledger.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, RowMapping, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Json, Table
from database.session import ReadSession, WriteSession
from domain.accounts import NEVER, Account, Bucket, HeldPoints, HoldState, Lot, Part, Use
from domain.book import Book
from domain.ids import new_id
from domain.points import Activate, Balance, Clawback, Credit, Move, Moved, Restore
from domain.transactions import Kind, PastMove, Transaction

_DUE = ("next_due", "programme", "account")


class PointBalance(Table):
    """The row that is locked: what an account's entries sum to, per bucket."""

    __tablename__ = "point_balances"

    programme: Mapped[str] = mapped_column(primary_key=True)
    account: Mapped[UUID] = mapped_column(primary_key=True)
    issued: Mapped[int] = mapped_column(server_default=text("0"))  # below zero: where points come from
    pending: Mapped[int] = mapped_column(server_default=text("0"))
    available: Mapped[int] = mapped_column(server_default=text("0"))
    held: Mapped[int] = mapped_column(server_default=text("0"))
    redeemed: Mapped[int] = mapped_column(server_default=text("0"))
    expired: Mapped[int] = mapped_column(server_default=text("0"))
    reversed: Mapped[int] = mapped_column(server_default=text("0"))
    deficit: Mapped[int] = mapped_column(server_default=text("0"))  # only a clawback makes one
    number: Mapped[int] = mapped_column(server_default=text("0"))  # of the account's latest transaction
    next_due: Mapped[datetime | None]  # when something activates, expires or times out
    merged_into: Mapped[UUID | None]  # the account that has everything now

    __table_args__ = (
        CheckConstraint("available >= -deficit", name="not_overspent"),
        CheckConstraint(
            "pending >= 0 AND held >= 0 AND deficit >= 0 AND redeemed >= 0 AND expired >= 0 AND reversed >= 0",
            name="not_below_zero",
        ),
        Index("ix_point_balances_due", *_DUE, postgresql_where=text("next_due IS NOT NULL")),
        Index("ix_point_balances_merged", "merged_into", postgresql_where=text("merged_into IS NOT NULL")),
    )


class PointTransaction(Table):
    """One move. `key` is the SHA-256 of the natural key, which may hold an order's or a person's id."""

    __tablename__ = "point_transactions"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    programme: Mapped[str]
    account: Mapped[UUID]
    number: Mapped[int]  # given under the lock: the account's transactions in order
    key: Mapped[bytes] = mapped_column(LargeBinary)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)  # of what was asked; empty where nobody asked
    kind: Mapped[str]  # domain.transactions.Kind
    points: Mapped[int]
    source: Mapped[str]
    author: Mapped[str | None]
    of: Mapped[UUID | None]  # the transaction that it ends, gives back or takes back
    effective_at: Mapped[datetime]  # when it was due or asked for
    recorded_at: Mapped[datetime]
    answer: Mapped[Json]  # balance and detail, for whoever repeats it

    __table_args__ = (
        UniqueConstraint("programme", "key"),
        CheckConstraint("points >= 0", name="points"),
        Index("ix_point_transactions_of", "of", postgresql_where=text('"of" IS NOT NULL')),
    )


class PointEntry(Table):
    """One side of a transaction: `amount` in or out of a bucket of an account. A transaction's entries sum to zero."""

    __tablename__ = "point_entries"

    programme: Mapped[str] = mapped_column(primary_key=True)
    account: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    bucket: Mapped[str] = mapped_column(primary_key=True)  # domain.accounts.Bucket
    amount: Mapped[int]
    transaction_id: Mapped[UUID] = mapped_column(ForeignKey(PointTransaction.id))

    __table_args__ = (
        CheckConstraint("amount <> 0", name="amount"),
        Index("ix_point_entries_transaction_id", "transaction_id"),
    )


class PointLot(Table):
    """Points that came in together. `remaining` is the rest that is neither used nor held."""

    __tablename__ = "point_lots"

    id: Mapped[UUID] = mapped_column(primary_key=True)  # of a credit's lot: the transaction's
    programme: Mapped[str]
    account: Mapped[UUID]
    origin: Mapped[UUID]
    transaction_id: Mapped[UUID] = mapped_column(ForeignKey(PointTransaction.id))
    kind: Mapped[str]
    source: Mapped[str]
    original: Mapped[int]
    remaining: Mapped[int]
    number: Mapped[int]
    earned_at: Mapped[datetime]
    activates_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    is_pending: Mapped[bool]

    __table_args__ = (
        CheckConstraint("remaining BETWEEN 0 AND original AND original > 0", name="remaining"),
        Index("ix_point_lots_live", "programme", "account", postgresql_where=text("remaining > 0")),
        Index("ix_point_lots_account", "account"),
        Index("ix_point_lots_expiring", "expires_at", postgresql_where=text("remaining > 0")),
        Index("ix_point_lots_origin", "origin", postgresql_where=text("id <> origin")),
    )


class PointConsumption(Table):
    """Points of a lot put to a use. `follows`: those that an earlier consumption took."""

    __tablename__ = "point_consumptions"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    lot_id: Mapped[UUID] = mapped_column(ForeignKey(PointLot.id))
    transaction_id: Mapped[UUID] = mapped_column(ForeignKey(PointTransaction.id))
    use: Mapped[str]  # domain.accounts.Use
    points: Mapped[int]
    follows: Mapped[UUID | None]

    __table_args__ = (
        CheckConstraint("points > 0", name="points"),
        Index("ix_point_consumptions_lot_id", "lot_id"),
        Index("ix_point_consumptions_transaction_id", "transaction_id"),
        Index("ix_point_consumptions_follows", "follows", postgresql_where=text("follows IS NOT NULL")),
    )


class PointHold(Table):
    """A reservation. Its parts are the consumptions of its transaction."""

    __tablename__ = "point_holds"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    programme: Mapped[str]
    account: Mapped[UUID]
    transaction_id: Mapped[UUID] = mapped_column(ForeignKey(PointTransaction.id))
    points: Mapped[int]
    captured: Mapped[int] = mapped_column(server_default=text("0"))
    expires_at: Mapped[datetime]
    state: Mapped[str]  # domain.accounts.HoldState

    __table_args__ = (
        CheckConstraint("captured BETWEEN 0 AND points", name="captured"),
        Index("ix_point_holds_open", "programme", "account", postgresql_where=text("state = 'open'")),
        Index("ix_point_holds_account", "account"),
    )


class PointNote(Table):
    """What people wrote about a move, and the shop's own reference: may be personal, so it is not in the ledger."""

    __tablename__ = "point_notes"

    transaction_id: Mapped[UUID] = mapped_column(primary_key=True)
    customer_id: Mapped[UUID]
    reason: Mapped[str | None]
    reference: Mapped[str | None]

    __table_args__ = (Index("ix_point_notes_customer_id", "customer_id"),)


# The accounts of a batch, locked in order of id so that no two batches wait for each other. Relies on
# pk_point_balances.
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

# Transactions under the keys of moves or that moves refer to, as their accounts are called after merges, and what
# clawbacks and expiry have taken of each. Relies on uq_point_transactions_programme_key and ix_point_transactions_of.
_PAST = text("""
    SELECT
        past.id, coalesce(balances.merged_into, past.account) AS account, past.key, past.fingerprint, past.kind,
        past.points, past.answer,
        coalesce((
            SELECT sum(points) FROM point_transactions AS clawback WHERE clawback.of = past.id AND kind = 'clawback'
        ), 0)::bigint AS clawed,
        coalesce((
            SELECT sum(points) FROM point_consumptions
            WHERE use = 'expired' AND lot_id IN (
                SELECT past.id UNION ALL SELECT id FROM point_lots WHERE origin = past.id AND id <> origin
            )
        ), 0)::bigint AS expired
    FROM point_transactions AS past
    LEFT JOIN point_balances AS balances ON balances.programme = past.programme AND balances.account = past.account
    WHERE past.programme = :programme AND past.key = ANY(CAST(:keys AS bytea[]))
""")

_HOLDS = text("""
    SELECT * FROM point_holds
    WHERE (programme = :programme AND account = ANY(CAST(:accounts AS uuid[])) AND state = 'open')
       OR (programme = :programme AND id = ANY(CAST(:holds AS uuid[])))
""")

# What holds, debits and captures took out of lots, less what was taken on or given back since.
_PARTS = text("""
    SELECT taken.id, taken.lot_id, taken.transaction_id, taken.use, taken.points - coalesce((
        SELECT sum(points) FROM point_consumptions AS later WHERE later.follows = taken.id
    ), 0)::bigint AS left
    FROM point_consumptions AS taken
    WHERE taken.transaction_id = ANY(CAST(:transactions AS uuid[])) AND taken.use IN ('held', 'redeemed', 'reversed')
    ORDER BY taken.id
""")

_LOTS = text("""
    SELECT * FROM point_lots
    WHERE (programme = :programme AND account = ANY(CAST(:accounts AS uuid[])) AND remaining > 0)
       OR id = ANY(CAST(:lots AS uuid[]))
""")


async def load(
    session: ReadSession,
    programme: str,
    accounts: Collection[UUID],
    as_of: datetime,
    moves: Sequence[Move] = (),
    *,
    lock: bool,
) -> Book:
    """What is stored about accounts, as far as moves at `as_of` need it. Locked until the transaction ends, or read."""
    found = await (_lock if lock else _read)(session, programme, accounts)
    book = Book({id_: found.get(id_) or Account(id_) for id_ in sorted(accounts)}, new_id)
    by_digest = {digest(programme, key): key for key in _keys(moves)}
    if by_digest:
        await _load_past(session, programme, book, by_digest)
    if _only_adds(moves) and all(account.unseen_due > as_of for account in book.accounts.values()):
        return book  # what is there already does not matter, however many lots it is
    await _load_lots(session, programme, book, [move.hold_id for move in moves if hasattr(move, "hold_id")])
    for account in book.accounts.values():
        account.unseen_due = NEVER
    return book


def _only_adds(moves: Sequence[Move]) -> bool:
    return bool(moves) and all(isinstance(move, Credit) for move in moves)


def digest(programme: str, key: str) -> bytes:
    """What is stored of a natural key: it may hold an order's id or a person's."""
    return hashlib.sha256(f"{programme}\x00{key}".encode()).digest()


async def _lock(session: ReadSession, programme: str, accounts: Collection[UUID]) -> dict[UUID, Account]:
    found = await _balances(session, programme, accounts, _LOCK)
    if len(found) < len(set(accounts)):
        await session.execute(_OPEN, {"programme": programme, "accounts": sorted(set(accounts) - set(found))})
        found = await _balances(session, programme, accounts, _LOCK)
    return found


async def _read(session: ReadSession, programme: str, accounts: Collection[UUID]) -> dict[UUID, Account]:
    return await _balances(session, programme, accounts, _READ)


async def _balances(
    session: ReadSession,
    programme: str,
    accounts: Collection[UUID],
    statement: Any,  # a text clause
) -> dict[UUID, Account]:
    rows = await session.execute(statement, {"programme": programme, "accounts": sorted(accounts)})
    return {row["account"]: _account(row) for row in rows.mappings()}


def _account(row: RowMapping) -> Account:  # a row of point_balances
    buckets = {bucket: row[bucket.value] for bucket in Bucket}
    due = row["next_due"] or NEVER
    return Account(row["account"], buckets, deficit=row["deficit"], number=row["number"], unseen_due=due)


def _keys(moves: Iterable[Move]) -> set[str]:
    keys = {move.key for move in moves}
    return keys | {move.of for move in moves if isinstance(move, Restore | Activate | Clawback)}


async def _load_past(session: ReadSession, programme: str, book: Book, by_digest: Mapping[bytes, str]) -> None:
    rows = (await session.execute(_PAST, {"programme": programme, "keys": list(by_digest)})).mappings().all()
    parts = await _parts(session, [row["id"] for row in rows])
    for row in rows:
        answer = row["answer"]
        moved = Moved(row["id"], Balance(**answer["balance"]), row["points"], detail=answer["detail"])
        book.past[by_digest[row["key"]]] = PastMove(
            transaction_id=row["id"],
            account=row["account"],
            kind=Kind(row["kind"]),
            fingerprint=row["fingerprint"],
            answer=moved,
            points=row["points"],
            parts=[part for part in parts.get(row["id"], []) if part.use is not Use.HELD],
            clawed=row["clawed"],
            expired=row["expired"],
        )


async def _load_lots(session: ReadSession, programme: str, book: Book, named: Sequence[UUID]) -> None:
    given = {"programme": programme, "accounts": list(book.accounts), "holds": list(named)}
    rows = (await session.execute(_HOLDS, given)).mappings().all()
    parts = await _parts(session, [row["transaction_id"] for row in rows])
    for row in rows:
        hold = _hold(row, parts.get(row["transaction_id"], []))
        book.holds[hold.id] = hold
        if hold.state is HoldState.OPEN and hold.account in book.accounts:
            book.accounts[hold.account].holds[hold.id] = hold
    used = [part.lot_id for hold in book.holds.values() for part in hold.parts if hold.account in book.accounts]
    used += [part.lot_id for past in book.past.values() for part in past.parts if part.left]
    lots = await session.execute(_LOTS, {**given, "lots": used})
    for row in lots.mappings():
        if row["account"] in book.accounts:
            book.accounts[row["account"]].lots[row["id"]] = _lot(row)


async def _parts(session: ReadSession, transactions: Sequence[UUID]) -> dict[UUID, list[Part]]:
    found: dict[UUID, list[Part]] = {}
    if transactions:
        for row in await session.execute(_PARTS, {"transactions": list(transactions)}):
            found.setdefault(row.transaction_id, []).append(Part(row.id, row.lot_id, Use(row.use), row.left))
    return found


def _hold(row: RowMapping, parts: Sequence[Part]) -> HeldPoints:  # a row of point_holds
    names = ("id", "account", "transaction_id", "points", "expires_at", "captured")
    held = [part for part in parts if part.use is Use.HELD]
    return HeldPoints(**{name: row[name] for name in names}, state=HoldState(row["state"]), parts=held)


def _lot(row: RowMapping) -> Lot:  # a row of point_lots
    return Lot(**{name: value for name, value in row.items() if name not in {"programme", "transaction_id"}})


_STORE_TRANSACTIONS = text("""
    INSERT INTO point_transactions (
        id, programme, account, number, key, fingerprint, kind, points, source, author, of, effective_at, recorded_at,
        answer
    )
    SELECT
        id, :programme, account, number, key, fingerprint, kind, points, source, author, of, effective_at, :as_of,
        answer
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
        id uuid, account uuid, number bigint, key bytea, fingerprint bytea, kind text, points bigint, source text,
        author text, of uuid, effective_at timestamptz, answer jsonb
    )
""")
_STORE_ENTRIES = text("""
    INSERT INTO point_entries (programme, account, number, bucket, amount, transaction_id)
    SELECT :programme, account, number, bucket, amount, transaction_id
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
        account uuid, number bigint, bucket text, amount bigint, transaction_id uuid
    )
""")
_STORE_LOTS = text("""
    INSERT INTO point_lots (
        id, programme, account, origin, transaction_id, kind, source, original, remaining, number, earned_at,
        activates_at, expires_at, is_pending
    )
    SELECT
        id, :programme, account, origin, transaction_id, kind, source, original, remaining, number, earned_at,
        activates_at, expires_at, is_pending
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
        id uuid, account uuid, origin uuid, transaction_id uuid, kind text, source text, original bigint,
        remaining bigint, number bigint, earned_at timestamptz, activates_at timestamptz, expires_at timestamptz,
        is_pending boolean
    )
""")
_STORE_CONSUMPTIONS = text("""
    INSERT INTO point_consumptions (id, lot_id, transaction_id, use, points, follows)
    SELECT id, lot_id, transaction_id, use, points, follows
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
        id uuid, lot_id uuid, transaction_id uuid, use text, points bigint, follows uuid
    )
""")
_STORE_HOLDS = text("""
    INSERT INTO point_holds (id, programme, account, transaction_id, points, captured, expires_at, state)
    SELECT id, :programme, account, transaction_id, points, captured, expires_at, state
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
        id uuid, account uuid, transaction_id uuid, points bigint, captured bigint, expires_at timestamptz, state text
    )
""")
_STORE_NOTES = text("""
    INSERT INTO point_notes (transaction_id, customer_id, reason, reference)
    SELECT transaction_id, customer_id, reason, reference
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
        transaction_id uuid, customer_id uuid, reason text, reference text
    )
""")
_CHANGE_LOTS = text("""
    UPDATE point_lots SET
        remaining = r.remaining, is_pending = r.is_pending, activates_at = r.activates_at, expires_at = r.expires_at
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
        id uuid, remaining bigint, is_pending boolean, activates_at timestamptz, expires_at timestamptz
    )
    WHERE point_lots.id = r.id
""")
_END_HOLDS = text("""
    UPDATE point_holds SET state = r.state, captured = r.captured
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (id uuid, state text, captured bigint)
    WHERE point_holds.id = r.id AND point_holds.state = 'open'
""")
_CHANGE_BALANCES = text("""
    UPDATE point_balances SET
        issued = r.issued, pending = r.pending, available = r.available, held = r.held, redeemed = r.redeemed,
        expired = r.expired, reversed = r.reversed, deficit = r.deficit, number = r.number, next_due = r.next_due
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
        account uuid, issued bigint, pending bigint, available bigint, held bigint, redeemed bigint, expired bigint,
        reversed bigint, deficit bigint, number bigint, next_due timestamptz
    )
    WHERE point_balances.programme = :programme AND point_balances.account = r.account
""")


async def store(
    session: WriteSession, programme: str, book: Book, as_of: datetime, reasons: Mapping[str, str] | None = None
) -> None:
    """Write what moves have made of a locked book: at most nine statements, however many moves there were.

    `reasons`: by a move's key, what somebody wrote about it.
    """
    opened = {lot.id for made in book.written for lot in made.opened}
    transactions, changed = book.written, [lot for lot in book.changed.values() if lot.id not in opened]
    if not transactions:
        return
    touched = {id_ for made in transactions for id_ in made.numbers}
    rows: list[tuple[Any, list[dict[str, object]]]] = [  # statements, in the order that their keys refer to each other
        (_STORE_TRANSACTIONS, [_transaction_row(programme, made) for made in transactions]),
        (_STORE_ENTRIES, [row for made in transactions for row in _entry_rows(made)]),
        (_STORE_LOTS, [_lot_row(made, lot) for made in transactions for lot in made.opened]),
        (_STORE_CONSUMPTIONS, [row for made in transactions for row in _consumption_rows(made)]),
        (_STORE_HOLDS, [_hold_row(made.hold) for made in transactions if made.hold]),
        (_STORE_NOTES, [row for made in transactions for row in _note_rows(made, reasons or {})]),
        (_CHANGE_LOTS, [_changed_row(lot) for lot in changed]),
        (_END_HOLDS, [_hold_row(hold) for hold in book.ended.values()]),
        (_CHANGE_BALANCES, [_balance_row(book.accounts[id_]) for id_ in sorted(touched)]),
    ]
    for statement, written in rows:
        if written:
            given = {"rows": orjson.dumps(written).decode(), "programme": programme, "as_of": as_of}
            await session.execute(statement, given)


def _changed_row(lot: Lot) -> dict[str, object]:
    return {name: getattr(lot, name) for name in ("id", "remaining", "is_pending", "activates_at", "expires_at")}


def _transaction_row(programme: str, made: Transaction) -> dict[str, object]:
    return {
        "id": made.id,
        "account": made.account,
        "number": made.numbers[made.account],
        "key": "\\x" + digest(programme, made.key).hex(),
        "fingerprint": "\\x" + made.fingerprint.hex(),
        "kind": made.kind,
        "points": made.points,
        "source": made.source,
        "author": made.author,
        "of": made.of,
        "effective_at": made.effective_at,
        "answer": {"balance": made.balance, "detail": made.detail},
    }


def _entry_rows(made: Transaction) -> list[dict[str, object]]:
    return [
        {"account": id_, "number": made.numbers[id_], "bucket": bucket, "amount": amount, "transaction_id": made.id}
        for (id_, bucket), amount in made.postings.items()
        if amount
    ]


def _lot_row(made: Transaction, lot: Lot) -> dict[str, object]:
    names = ("id", "account", "origin", "kind", "source", "original", "remaining", "number")
    dates = ("earned_at", "activates_at", "expires_at", "is_pending")
    return {**{name: getattr(lot, name) for name in (*names, *dates)}, "transaction_id": made.id}


def _consumption_rows(made: Transaction) -> list[dict[str, object]]:
    names = ("id", "lot_id", "use", "points", "follows")
    return [{**{name: getattr(each, name) for name in names}, "transaction_id": made.id} for each in made.consumptions]


def _hold_row(hold: HeldPoints) -> dict[str, object]:
    names = ("id", "account", "transaction_id", "points", "captured", "expires_at", "state")
    return {name: getattr(hold, name) for name in names}


def _note_rows(made: Transaction, reasons: Mapping[str, str]) -> list[dict[str, object]]:
    reason = reasons.get(made.key)
    if reason is None and made.reference is None:
        return []
    return [{"transaction_id": made.id, "customer_id": made.account, "reason": reason, "reference": made.reference}]


def _balance_row(account: Account) -> dict[str, object]:
    return {
        "account": account.id,
        **{bucket.value: points for bucket, points in account.buckets.items()},
        "deficit": account.deficit,
        "number": account.number,
        "next_due": account.next_due(),
    }
