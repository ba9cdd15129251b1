"""The catalogue, learned from events and imports, and who viewed what."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, PrimaryKeyConstraint
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Json, Table


class Product(Table):
    """One product as it was last described; price in minor units."""

    __tablename__ = "products"

    product_id: Mapped[str] = mapped_column(primary_key=True)
    sku: Mapped[str | None]
    name: Mapped[str | None]
    category: Mapped[str | None]
    brand: Mapped[str | None]
    price: Mapped[int | None]
    currency: Mapped[str | None]
    url: Mapped[str | None]
    image_url: Mapped[str | None]
    attributes: Mapped[Json]
    seen_at: Mapped[datetime]


class ProductView(Table):
    """How often and when last a customer viewed a product."""

    __tablename__ = "product_views"

    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))
    product_id: Mapped[str]
    views: Mapped[int]
    viewed_at: Mapped[datetime]

    __table_args__ = (PrimaryKeyConstraint("customer_id", "product_id"), Index("ix_product_views_customer", "customer_id", "viewed_at"))
