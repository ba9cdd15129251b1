"""How what moves have made of locked accounts is written: in one statement, however many moves there were.

The accounts were loaded in `accounts.py`; the tables are in `ledger.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache

import orjson
from sqlalchemy import TextClause, text

from database.ledger import digest
from database.run_looks import wake
from database.session import WriteSession
from domain.accounts import Account, HeldPoints, Lot
from domain.book import Book
from domain.transactions import Transaction

# What is written, each as a step of one statement, in the order in which people read it: PostgreSQL checks references
# when all is done. The account's balance is locked by then, and what else is changed belongs to it.
_STEPS = {
    "transactions": """
        INSERT INTO point_transactions (
            id, programme, account, number, key, fingerprint, kind, points, source, author, of, effective_at,
            recorded_at, answer
        )
        SELECT
            id, :programme, account, number, key, fingerprint, kind, points, source, author, of, effective_at,
            :as_of, answer
        FROM jsonb_to_recordset(CAST(:transactions AS jsonb)) AS r (
            id uuid, account uuid, number bigint, key bytea, fingerprint bytea, kind text, points bigint, source text,
            author text, of uuid, effective_at timestamptz, answer jsonb
        )
    """,
    "entries": """
        INSERT INTO point_entries (programme, account, number, bucket, amount, transaction_id)
        SELECT :programme, account, number, bucket, amount, transaction_id
        FROM jsonb_to_recordset(CAST(:entries AS jsonb)) AS r (
            account uuid, number bigint, bucket text, amount bigint, transaction_id uuid
        )
    """,
    "lots": """
        INSERT INTO point_lots (
            id, programme, account, origin, transaction_id, kind, source, original, remaining, number, earned_at,
            activates_at, expires_at, is_pending
        )
        SELECT
            id, :programme, account, origin, transaction_id, kind, source, original, remaining, number, earned_at,
            activates_at, expires_at, is_pending
        FROM jsonb_to_recordset(CAST(:lots AS jsonb)) AS r (
            id uuid, account uuid, origin uuid, transaction_id uuid, kind text, source text, original bigint,
            remaining bigint, number bigint, earned_at timestamptz, activates_at timestamptz, expires_at timestamptz,
            is_pending boolean
        )
    """,
    "consumptions": """
        INSERT INTO point_consumptions (id, lot_id, transaction_id, use, points, follows)
        SELECT id, lot_id, transaction_id, use, points, follows
        FROM jsonb_to_recordset(CAST(:consumptions AS jsonb)) AS r (
            id uuid, lot_id uuid, transaction_id uuid, use text, points bigint, follows uuid
        )
    """,
    "holds": """
        INSERT INTO point_holds (id, programme, account, transaction_id, points, captured, expires_at, state)
        SELECT id, :programme, account, transaction_id, points, captured, expires_at, state
        FROM jsonb_to_recordset(CAST(:holds AS jsonb)) AS r (
            id uuid, account uuid, transaction_id uuid, points bigint, captured bigint, expires_at timestamptz,
            state text
        )
    """,
    "notes": """
        INSERT INTO point_notes (transaction_id, customer_id, reason, reference, order_id)
        SELECT transaction_id, customer_id, reason, reference, order_id
        FROM jsonb_to_recordset(CAST(:notes AS jsonb)) AS r (
            transaction_id uuid, customer_id uuid, reason text, reference text, order_id text
        )
    """,
    "changed_lots": """
        UPDATE point_lots SET
            remaining = r.remaining, is_pending = r.is_pending, activates_at = r.activates_at, expires_at = r.expires_at
        FROM jsonb_to_recordset(CAST(:changed_lots AS jsonb)) AS r (
            id uuid, remaining bigint, is_pending boolean, activates_at timestamptz, expires_at timestamptz
        )
        WHERE point_lots.id = r.id
    """,
    "ended_holds": """
        UPDATE point_holds SET state = r.state, captured = r.captured
        FROM jsonb_to_recordset(CAST(:ended_holds AS jsonb)) AS r (id uuid, state text, captured bigint)
        WHERE point_holds.id = r.id AND point_holds.state = 'open'
    """,
    "balances": """
        UPDATE point_balances SET
            issued = r.issued, pending = r.pending, available = r.available, held = r.held, redeemed = r.redeemed,
            expired = r.expired, reversed = r.reversed, deficit = r.deficit, number = r.number, next_due = r.next_due
        FROM jsonb_to_recordset(CAST(:balances AS jsonb)) AS r (
            account uuid, issued bigint, pending bigint, available bigint, held bigint, redeemed bigint, expired bigint,
            reversed bigint, deficit bigint, number bigint, next_due timestamptz
        )
        WHERE point_balances.programme = :programme AND point_balances.account = r.account
    """,
}


async def store(
    session: WriteSession, programme: str, book: Book, as_of: datetime, reasons: Mapping[str, str] | None = None
) -> None:
    """Write what moves have made of a locked book, and wake the runs that look at its points. `reasons`: by a move's
    key, what somebody wrote about it.
    """
    if not book.written:
        return
    rows = {name: each for name, each in _rows(programme, book, reasons or {}).items() if each}
    given = {name: orjson.dumps(each).decode() for name, each in rows.items()}
    await session.execute(_statement(tuple(rows)), {**given, "programme": programme, "as_of": as_of})
    await wake(session, book.lookers)


@cache
def _statement(names: tuple[str, ...]) -> TextClause:
    """One statement out of steps; moves of one kind take the same ones, so that it is prepared once a connection."""
    steps = ",".join(f"{name}_step AS ({_STEPS[name]})" for name in names)
    return text(f"WITH {steps} SELECT")


def _rows(programme: str, book: Book, reasons: Mapping[str, str]) -> dict[str, list[dict[str, object]]]:
    """What each step writes."""
    made = book.written
    opened = {lot.id for each in made for lot in each.opened}
    touched = {id_ for each in made for id_ in each.numbers}
    return {
        "transactions": [_transaction_row(programme, each) for each in made],
        "entries": [row for each in made for row in _entry_rows(each)],
        "lots": [_lot_row(each, lot) for each in made for lot in each.opened],
        "consumptions": [row for each in made for row in _consumption_rows(each)],
        "holds": [_hold_row(each.hold) for each in made if each.hold],
        "notes": [row for each in made for row in _note_rows(each, reasons)],
        "changed_lots": [_changed_row(lot) for lot in book.changed.values() if lot.id not in opened],
        "ended_holds": [_hold_row(hold) for hold in book.ended.values()],
        "balances": [_balance_row(book.accounts[id_]) for id_ in sorted(touched)],
    }


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
    told = {"reason": reasons.get(made.key), "reference": made.reference, "order_id": made.order_id}
    if not any(each is not None for each in told.values()):
        return []
    return [{"transaction_id": made.id, "customer_id": made.account, **told}]


def _balance_row(account: Account) -> dict[str, object]:
    return {
        "account": account.id,
        **{bucket.value: points for bucket, points in account.buckets.items()},
        "deficit": account.deficit,
        "number": account.number,
        "next_due": account.next_due(),
    }
