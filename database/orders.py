"""Orders, their refunds and carts, projected from e-commerce events (domain/commerce.py)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import ForeignKey, Index, PrimaryKeyConstraint, delete, false, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Json, JsonList, Table, among
from database.events import Event
from database.session import ReadSession, WriteSession
from domain.carts import Cart as CartFact
from domain.carts import CartState
from domain.commerce import OrderFold, OrderState
from domain.customers import as_written
from domain.identities import Stamp
from domain.lateness import returned_at
from domain.money import digits_of, minor_units
from domain.refund_statements import Told
from domain.refunds import GivenBack, RefundFact


class Order(Table):
    """One order of the shop; money in minor units of `currency`."""

    __tablename__ = "orders"

    order_id: Mapped[str] = mapped_column(primary_key=True)  # the shop's own
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))
    state: Mapped[str]  # started | completed | cancelled | refunded | partially_refunded
    currency: Mapped[str]
    total: Mapped[int | None]
    subtotal: Mapped[int | None]
    revenue: Mapped[int | None]
    shipping: Mapped[int | None]
    tax: Mapped[int | None]
    discount: Mapped[int | None]
    refunded: Mapped[int] = mapped_column(server_default=text("0"))
    returned: Mapped[str] = mapped_column(server_default=text("'0'"))  # exact share of the goods, such as 1/3
    coupon: Mapped[str | None]
    lines: Mapped[JsonList]  # product_id, sku, name, price (minor), quantity, ...
    completed_at: Mapped[datetime | None]
    cancelled: Mapped[bool] = mapped_column(server_default=text("false"))  # the last word of Completed and Cancelled
    changed_at: Mapped[Json] = mapped_column(
        server_default=text("'{}'")
    )  # field -> its last writer (domain.customers.Written)

    __table_args__ = (Index("ix_orders_customer", "customer_id", "completed_at"),)


class Refund(Table):
    """One `Order Refunded` event, kept even when it comes before its order.

    `told` is null where an earlier release kept it, which knew `total` only.
    """

    __tablename__ = "refunds"

    event_id: Mapped[UUID] = mapped_column(primary_key=True)
    order_id: Mapped[str]
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))
    at: Mapped[datetime]
    sent: Mapped[datetime] = mapped_column(server_default=text("'1970-01-01 00:00:00+00'"))
    total: Mapped[int | None]  # for earlier releases: minor units, null when the event said neither total nor products
    currency: Mapped[str | None]  # null where the event named none: the order's
    lines: Mapped[JsonList]
    refund_id: Mapped[str | None]  # the shop's own
    told: Mapped[str | None]  # absent | unreadable | stated: what it said of the amount
    amount: Mapped[Decimal | None]  # major units, as sent
    shipping: Mapped[Decimal | None]  # major units of the amount that were for shipping

    __table_args__ = (Index("ix_refunds_order", "order_id"), Index("ix_refunds_customer_id", "customer_id"))


class Cart(Table):
    """What stands in a cart, folded from Product Added/Removed, Cart Viewed, Checkout Started and Order Completed."""

    __tablename__ = "carts"

    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))
    cart_id: Mapped[str]  # "" where the shop sends none
    state: Mapped[str]  # open | checkout | ordered
    lines: Mapped[JsonList]  # as orders', each with its currency; an earlier release kept none
    url: Mapped[str | None]  # where shopping goes on
    changed_at: Mapped[datetime]
    changed_sent: Mapped[datetime] = mapped_column(server_default=text("'1970-01-01 00:00:00+00'"))  # with changed_by:
    changed_by: Mapped[UUID] = mapped_column(server_default=text(f"'{UUID(int=0)}'"))  # what orders one instant

    __table_args__ = (PrimaryKeyConstraint("customer_id", "cart_id"),)


_AMOUNTS = ("total", "subtotal", "revenue", "shipping", "tax", "discount")

# An order may be told about by events of two customers, so its row is locked, always in the order of ids; a new one
# is made first, which waits for another router that makes the same.
_MAKE_ORDERS = text("""
    INSERT INTO orders (order_id, customer_id, state, currency, lines)
    SELECT order_id, customer_id, 'started', '', '[]'
    FROM unnest(CAST(:order_ids AS text[]), CAST(:customer_ids AS uuid[])) AS new (order_id, customer_id)
    ORDER BY order_id
    ON CONFLICT DO NOTHING
""")
_LOCK_ORDERS = select(Order).order_by(Order.order_id).with_for_update().execution_options(populate_existing=True)


# An order's first event and a refund of it may come from two customers at once, before there is a row to lock: each
# would miss what the other has not committed yet. So they take turns by the order's id, locked in the order of ids.
_TAKE_TURNS = text("""
    SELECT pg_advisory_xact_lock(hashtextextended('order/' || order_id, 0))
    FROM unnest(CAST(:order_ids AS text[])) AS order_id
""")


async def take_turns(session: WriteSession, order_ids: Collection[str]) -> None:
    """Wait until nobody else works on these orders, whether they exist or not, and keep others off until the end."""
    if order_ids:
        await session.execute(_TAKE_TURNS, {"order_ids": sorted(order_ids)})


async def lock_orders(session: WriteSession, customers: Mapping[str, UUID]) -> dict[str, OrderFold | None]:
    """The orders so far (order id -> order, None for a new one), locked. `customers`: who made each, if it is new."""
    if not customers:
        return {}
    new = {"order_ids": list(customers), "customer_ids": list(customers.values())}
    await session.execute(_MAKE_ORDERS, new)
    rows = (await session.execute(_LOCK_ORDERS.where(among(Order.order_id, customers)))).scalars()
    return {row.order_id: order_of(row) if row.changed_at else None for row in rows}


async def known_orders(session: WriteSession, order_ids: Collection[str]) -> set[str]:
    """Which of these orders exist."""
    statement = select(Order.order_id).where(among(Order.order_id, order_ids))
    return set((await session.execute(statement)).scalars()) if order_ids else set()


async def orders_given_back(session: ReadSession, order_ids: Collection[str]) -> set[str]:
    """Which of these orders were cancelled or refunded in full."""
    is_gone = Order.state.in_([OrderState.CANCELLED, OrderState.REFUNDED])
    statement = select(Order.order_id).where(among(Order.order_id, order_ids), is_gone)
    return set((await session.execute(statement)).scalars()) if order_ids else set()


async def orders_by_id(session: ReadSession, order_ids: Collection[str]) -> dict[str, OrderFold]:
    """These orders as their events have left them, without those that no event told about."""
    found = (await session.execute(select(Order).where(among(Order.order_id, order_ids)))).scalars()
    return {row.order_id: order_of(row) for row in found}


def order_of(row: Order) -> OrderFold:
    """The order that a row keeps."""
    return OrderFold(
        *(row.order_id, row.customer_id, row.currency),
        amounts={name: getattr(row, name) for name in _AMOUNTS if getattr(row, name) is not None},
        coupon=row.coupon,
        lines=row.lines,
        completed_at=row.completed_at,
        cancelled=row.cancelled,
        writers={name: as_written(told) for name, told in row.changed_at.items()},
    )


async def write_orders(session: WriteSession, orders: Iterable[tuple[OrderFold, GivenBack]]) -> None:
    """Write orders with what was given back of each, in the order of ids."""
    rows = [_order_row(order, back) for order, back in sorted(orders, key=lambda pair: pair[0].order_id)]
    if rows:
        statement = insert(Order)
        changed = {name: statement.excluded[name] for name in rows[0] if name != "order_id"}
        await session.execute(statement.on_conflict_do_update(index_elements=["order_id"], set_=changed), rows)


def _order_row(order: OrderFold, back: GivenBack) -> dict[str, Any]:
    return {
        "order_id": order.order_id,
        "customer_id": order.customer_id,
        "state": order.state(back.refunded, back.returned),
        "currency": order.currency,
        **{name: order.amounts.get(name) for name in _AMOUNTS},
        "refunded": back.refunded,
        "returned": str(back.returned),
        "coupon": order.coupon,
        "lines": list(order.lines),
        "completed_at": order.completed_at,
        "cancelled": order.cancelled,
        "changed_at": dict(order.writers),
    }


async def add_refunds(session: WriteSession, refunds: Iterable[RefundFact]) -> None:
    """Keep refunds; one event is one refund however often it is routed."""
    rows = [
        {
            "event_id": refund.event_id,
            "order_id": refund.order_id,
            "customer_id": refund.customer_id,
            "at": refund.at,
            "sent": refund.sent,
            "total": _total_as_before(refund),
            "currency": refund.currency,
            "lines": list(refund.lines),
            "refund_id": refund.refund_id,
            "told": refund.told,
            "amount": refund.amount,
            "shipping": refund.shipping,
        }
        for refund in refunds
    ]
    if rows:
        await session.execute(insert(Refund).on_conflict_do_nothing(), rows)


def _total_as_before(refund: RefundFact) -> int | None:
    """What the release before, which may run beside this one, is to read: nothing where everything was refunded."""
    if refund.told is Told.STATED:
        return minor_units(refund.amount, refund.currency or "")
    if refund.told is Told.UNREADABLE:
        return 0
    return _worth(refund.lines) if refund.lines else None


async def refunds_of(session: ReadSession, order_ids: Collection[str]) -> dict[str, list[RefundFact]]:
    """All refunds of these orders. Relies on ix_refunds_order, pk_orders and pk_events."""
    found: dict[str, list[RefundFact]] = {order_id: [] for order_id in order_ids}
    # The event may have been forgotten.
    came = (func.coalesce(Event.received_at, Refund.at), func.coalesce(Event.is_history, false()))
    statement = (
        select(Refund, Order.currency, *came)
        .outerjoin(Order, Order.order_id == Refund.order_id)
        .outerjoin(Event, Event.id == Refund.event_id)
        .where(among(Refund.order_id, order_ids))
    )
    for row, currency, received_at, is_history in await session.execute(statement):
        counts_at = returned_at(row.at, received_at, is_history=is_history)
        told, amount = (Told(row.told), row.amount) if row.told else _told_before(row, row.currency or currency or "")
        found[row.order_id].append(
            RefundFact(
                *(row.event_id, row.order_id, row.customer_id, row.at, told, amount),
                shipping=row.shipping,
                currency=row.currency,
                lines=row.lines,
                refund_id=row.refund_id,
                sent=row.sent,
                came_late=counts_at if counts_at != row.at else None,
            )
        )
    return found


def _told_before(row: Refund, currency: str) -> tuple[Told, Decimal | None]:
    """What a row of an earlier release says of its amount.

    That release kept the worth of the products where no amount was stated.
    """
    if row.total is None or (row.lines and row.total == _worth(row.lines)):
        return Told.ABSENT, None
    return Told.STATED, abs(Decimal(row.total)).scaleb(-digits_of(currency))


def _worth(lines: Iterable[Mapping[str, Any]]) -> int:
    return sum((line.get("price") or 0) * line["quantity"] for line in lines)


async def carts_of(session: ReadSession, customer_ids: Collection[UUID]) -> dict[UUID, dict[str, CartFact]]:
    """The carts of customers, by their ids."""
    found: dict[UUID, dict[str, CartFact]] = {customer_id: {} for customer_id in customer_ids}
    stamp = (Cart.changed_at, Cart.changed_sent, Cart.changed_by)
    columns = (Cart.customer_id, Cart.cart_id, Cart.state, Cart.lines, Cart.url, *stamp)
    for row in await session.execute(select(*columns).where(among(Cart.customer_id, customer_ids))):
        cart = CartFact(row.cart_id, CartState(row.state), row.lines, Stamp(*row[5:]), row.url)
        found[row.customer_id][row.cart_id] = cart
    return found


_WRITE_CARTS = text("""
    INSERT INTO carts (customer_id, cart_id, state, lines, url, changed_at, changed_sent, changed_by)
    SELECT customer_id, cart_id, state, lines, url, changed_at, changed_sent, changed_by
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
        customer_id uuid, cart_id text, state text, lines jsonb, url text, changed_at timestamptz,
        changed_sent timestamptz, changed_by uuid
    )
    ON CONFLICT (customer_id, cart_id) DO UPDATE SET
        state = excluded.state, lines = excluded.lines, url = excluded.url, changed_at = excluded.changed_at,
        changed_sent = excluded.changed_sent, changed_by = excluded.changed_by
""")


async def write_carts(session: WriteSession, carts: Mapping[UUID, Mapping[str, CartFact]]) -> None:
    """Write changed carts of customers that the caller has locked."""
    rows: Sequence[dict[str, Any]] = [
        {
            "customer_id": customer_id,
            "cart_id": cart.cart_id,
            "state": cart.state,
            "lines": [dict(line) for line in cart.lines],
            "url": cart.url,
            "changed_at": cart.changed.timestamp,
            "changed_sent": cart.changed.sent,
            "changed_by": cart.changed.event_id,
        }
        for customer_id, changed in carts.items()
        for cart in changed.values()
    ]
    if rows:
        await session.execute(_WRITE_CARTS, {"rows": orjson.dumps(rows).decode()})


async def forget_carts(session: WriteSession, customer_ids: Collection[UUID]) -> None:
    """Drop the carts of customers whose events are about to be folded again."""
    await session.execute(delete(Cart).where(among(Cart.customer_id, customer_ids)))
