"""The tables of the points ledger. Accounts are loaded from them in `accounts.py` and written in `transactions.py`.

Members are called `account` (the customer's id) and never re-pointed row by row: transactions, entries and consumptions
are append-only, for the application's role by right and for everybody by triggers. Nothing here is personal; reasons
and references are in `point_notes`, which go with the customer. The rules: `domain/ledger.py`.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Json, Table

_DUE = ("next_due", "programme", "account")
_TURN = ("programme", "account", "is_pending", "expires_at", "number", "id")


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
    is_totalled: Mapped[bool] = mapped_column(server_default=text("true"))  # false: from before `point_totals.py`

    __table_args__ = (
        UniqueConstraint("programme", "key"),
        CheckConstraint("points >= 0", name="points"),
        Index("ix_point_transactions_of", "of", postgresql_where=text('"of" IS NOT NULL')),
        Index("ix_point_transactions_effective", "programme", "effective_at"),
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
        Index("ix_point_entries_history", "programme", "account", "transaction_id"),
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
        Index("ix_point_lots_turn", *_TURN, postgresql_where=text("remaining > 0")),
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
    order_id: Mapped[str | None]  # that the points pay for: what is given back of it gives them back (spent_points.py)

    __table_args__ = (
        Index("ix_point_notes_customer_id", "customer_id"),
        Index("ix_point_notes_order_id", "order_id", postgresql_where=text("order_id IS NOT NULL")),
    )


def digest(programme: str, key: str) -> bytes:
    """What is stored of a natural key: it may hold an order's id or a person's."""
    return hashlib.sha256(f"{programme}\x00{key}".encode()).digest()
