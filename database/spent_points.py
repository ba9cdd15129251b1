"""Points that pay for orders, and what comes back of them: by what became of the order, or because the shop says so."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, text

from database import points
from database.ledger import PointHold, PointNote
from database.orders import orders_by_id, refunds_of
from database.session import ReadSession, WriteSession
from domain.commerce import OrderFold
from domain.points import Moved, Release, Restore
from domain.refunds import RefundFact, is_everything, spent_back


@dataclass(frozen=True, slots=True)
class SpentPoints:
    """A capture or deduction, and how much of it has come back; or a hold that is open (`hold_id`)."""

    id: UUID
    order_id: str
    account: UUID  # as it is called after merges
    points: int
    restored: int
    hold_id: UUID | None


# Relies on ix_point_notes_order_id and ix_point_transactions_of.
_SPENT = text("""
    SELECT made.id, notes.order_id, coalesce(balances.merged_into, made.account) AS account, made.points,
        coalesce((
            SELECT sum(points) FROM point_transactions AS back WHERE back.of = made.id AND back.kind = 'restore'
        ), 0)::bigint AS restored,
        holds.id AS hold_id
    FROM point_notes AS notes
    JOIN point_transactions AS made ON made.id = notes.transaction_id
    JOIN point_balances AS balances ON balances.programme = made.programme AND balances.account = made.account
    LEFT JOIN point_holds AS holds ON holds.transaction_id = made.id AND holds.state = 'open' AND made.kind = 'hold'
    WHERE notes.order_id = ANY(CAST(:order_ids AS text[])) AND made.programme = :programme
      AND (made.kind IN ('capture', 'deduct') OR holds.id IS NOT NULL)
    ORDER BY made.id
""")


async def give_back(
    session: WriteSession,
    programme: str,
    order_ids: Collection[str],
    accounts: Collection[UUID],
    as_of: datetime,
    *,
    until: datetime | None,
) -> list[Moved]:
    """Give back what these orders, as they stand, give back of the points that paid for them, and holds for orders
    that came to nothing. Only of these accounts, whose customers are locked. `until`: what lapses before lives so long.

    What came back stays, also where an order is taken up again.
    """
    found = await session.execute(_SPENT, {"programme": programme, "order_ids": list(order_ids)})
    spent = [row for row in (SpentPoints(**row) for row in found.mappings()) if row.account in accounts]
    if not spent:
        return []
    ids = {each.order_id for each in spent}
    orders, refunds = await orders_by_id(session, ids), await refunds_of(session, ids)
    moves = [
        move for each in spent for move in _given_back(each, orders.get(each.order_id), refunds[each.order_id], until)
    ]
    return await points.post(session, programme, moves, as_of)


def _given_back(
    spent: SpentPoints, order: OrderFold | None, refunds: Sequence[RefundFact], until: datetime | None
) -> Iterator[Release | Restore]:
    target = _target(spent.points, order, refunds)
    if spent.hold_id is not None:
        if target == spent.points:
            yield Release(spent.account, f"release/{spent.hold_id}", spent.hold_id, until)
    elif target > spent.restored:
        key, due = f"order/{spent.id}/{target}", target - spent.restored
        yield Restore(spent.account, key, spent.id, due, until, order_id=spent.order_id)


def _target(points_spent: int, order: OrderFold | None, refunds: Sequence[RefundFact]) -> int:
    """Before anything is known of an order, only a refund of everything says how much of it comes back."""
    if order is not None:
        return spent_back(points_spent, order, refunds)
    return points_spent if any(is_everything(refund) for refund in refunds) else 0


async def order_of_hold(session: ReadSession, hold_id: UUID) -> str | None:
    """The order that a hold names."""
    named = select(PointNote.order_id).join(PointHold, PointHold.transaction_id == PointNote.transaction_id)
    return await session.scalar(named.where(PointHold.id == hold_id))


@dataclass(frozen=True, slots=True)
class Spending:
    """A transaction that may be reversed: a deduction, or the capture of a hold of the shop's."""

    programme: str
    account: UUID  # as it is called after merges
    is_reversible: bool


# What redemptions have cost comes back with them.
_OF_TRANSACTION = text("""
    SELECT made.programme, coalesce(balances.merged_into, made.account) AS account,
        made.kind = 'deduct' OR made.kind = 'capture' AND coalesce(hold.source = 'hold', false) AS is_reversible
    FROM point_transactions AS made
    LEFT JOIN point_transactions AS hold ON hold.id = made.of
    JOIN point_balances AS balances ON balances.programme = made.programme AND balances.account = made.account
    WHERE made.id = :id
""")


async def spending(session: ReadSession, transaction_id: UUID) -> Spending | None:
    """Whose transaction it is, and whether it may be reversed; None if there is none of this id."""
    row = (await session.execute(_OF_TRANSACTION, {"id": transaction_id})).mappings().one_or_none()
    return None if row is None else Spending(**row)
