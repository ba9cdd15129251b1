"""Orders and their refunds, projected from the e-commerce events of trusted sources."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, PrimaryKeyConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Json, JsonList, Table


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
    coupon: Mapped[str | None]
    lines: Mapped[JsonList]  # product_id, sku, name, price (minor), quantity, ...
    completed_at: Mapped[datetime | None]
    changed_at: Mapped[Json] = mapped_column(server_default=text("'{}'"))  # field group -> [timestamp, message id] of its last writer

    __table_args__ = (Index("ix_orders_customer", "customer_id", "completed_at"),)


class Refund(Table):
    """One `Order Refunded` event, kept even when it comes before its order."""

    __tablename__ = "refunds"

    event_id: Mapped[UUID] = mapped_column(primary_key=True)
    order_id: Mapped[str]
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))
    at: Mapped[datetime]
    total: Mapped[int | None]  # minor units; null when the event said neither total nor products: everything
    currency: Mapped[str | None]
    lines: Mapped[JsonList]

    __table_args__ = (Index("ix_refunds_order", "order_id"),)


class Cart(Table):
    """What stands in a cart, folded from Product Added/Removed, Cart Viewed, Checkout Started and Order Completed."""

    __tablename__ = "carts"

    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))
    cart_id: Mapped[str]  # "" where the shop sends none
    state: Mapped[str]  # open | checkout | ordered
    lines: Mapped[JsonList]
    changed_at: Mapped[datetime]

    __table_args__ = (PrimaryKeyConstraint("customer_id", "cart_id"),)
