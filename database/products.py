"""The catalogue, learned from events and imports, and who viewed what."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import ForeignKey, Index, PrimaryKeyConstraint, delete, select, text
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Json, Table, among
from database.session import ReadSession, WriteSession
from domain.commerce import ProductFact


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
    trusted: Mapped[bool]  # described by a trusted source: a browser's word no longer changes it


class ProductView(Table):
    """How often and when last a customer viewed a product."""

    __tablename__ = "product_views"

    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))
    product_id: Mapped[str]
    views: Mapped[int]
    viewed_at: Mapped[datetime]

    __table_args__ = (
        PrimaryKeyConstraint("customer_id", "product_id"),
        Index("ix_product_views_customer", "customer_id", "viewed_at"),
    )


DESCRIBED = ("sku", "name", "category", "brand", "price", "currency", "url", "image_url")

# Sorted by key, so that routers that describe the same products take the rows in one order.
_DESCRIBE = text("""
    INSERT INTO products (
        product_id, sku, name, category, brand, price, currency, url, image_url, attributes, seen_at, trusted
    )
    SELECT product_id, sku, name, category, brand, price, currency, url, image_url, attributes, seen_at, trusted
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
        product_id text, sku text, name text, category text, brand text, price bigint, currency text, url text,
        image_url text, attributes jsonb, seen_at timestamptz, trusted boolean
    )
    ORDER BY product_id
    ON CONFLICT (product_id) DO UPDATE SET
        sku = coalesce(excluded.sku, products.sku), name = coalesce(excluded.name, products.name),
        category = coalesce(excluded.category, products.category), brand = coalesce(excluded.brand, products.brand),
        price = coalesce(excluded.price, products.price), currency = coalesce(excluded.currency, products.currency),
        url = coalesce(excluded.url, products.url), image_url = coalesce(excluded.image_url, products.image_url),
        attributes = products.attributes || excluded.attributes,
        seen_at = excluded.seen_at, trusted = excluded.trusted
    WHERE (excluded.trusted AND NOT products.trusted)
       OR (excluded.trusted = products.trusted AND excluded.seen_at >= products.seen_at)
""")

_VIEW = text("""
    INSERT INTO product_views (customer_id, product_id, views, viewed_at)
    SELECT customer_id, product_id, views, viewed_at
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
        customer_id uuid, product_id text, views bigint, viewed_at timestamptz
    )
    ON CONFLICT (customer_id, product_id) DO UPDATE SET
        views = product_views.views + excluded.views,
        viewed_at = greatest(product_views.viewed_at, excluded.viewed_at)
""")


async def describe(session: WriteSession, facts: Iterable[ProductFact]) -> None:
    """Keep what is told about products. A trusted word beats a browser's; among equals the later one counts."""
    told: dict[str, ProductFact] = {}
    for fact in facts:
        told[fact.product_id] = _joined(told.get(fact.product_id), fact)
    known = await _known(session, told)
    rows = [_row(fact) for fact in told.values() if not _says_nothing_new(fact, known.get(fact.product_id))]
    if rows:
        await session.execute(_DESCRIBE, {"rows": orjson.dumps(rows).decode()})


async def count_views(session: WriteSession, views: Mapping[tuple[UUID, str], tuple[int, datetime]]) -> None:
    """Add views: (customer, product) -> how many, and when last."""
    rows = [
        {"customer_id": customer, "product_id": product, "views": count, "viewed_at": at}
        for (customer, product), (count, at) in views.items()
    ]
    if rows:
        await session.execute(_VIEW, {"rows": orjson.dumps(rows).decode()})


async def forget_views(session: WriteSession, customer_ids: Collection[UUID]) -> None:
    """Drop the views of customers whose events are about to be folded again."""
    await session.execute(delete(ProductView).where(among(ProductView.customer_id, customer_ids)))


def _joined(one: ProductFact | None, other: ProductFact) -> ProductFact:
    """One word from two in the same batch."""
    if one is None:
        return other
    first, last = sorted((one, other), key=lambda fact: (fact.trusted, fact.at))
    if first.trusted != last.trusted:
        return last
    told = {name: value for name, value in last.described.items() if value is not None}
    attributes = {**first.attributes, **last.attributes}
    return ProductFact(last.product_id, {**first.described, **told}, attributes, last.at, last.trusted)


def _says_nothing_new(fact: ProductFact, known: Mapping[str, Any] | None) -> bool:
    """Most views repeat what is known; not writing that keeps popular products' rows free of contention."""
    if known is None:
        return False
    if known["trusted"] and not fact.trusted:
        return True
    same = all(value is None or value == known[name] for name, value in fact.described.items())
    return same and known["trusted"] == fact.trusted and fact.attributes.items() <= known["attributes"].items()


def _row(fact: ProductFact) -> dict[str, Any]:
    return {
        **fact.described,
        "product_id": fact.product_id,
        "attributes": dict(fact.attributes),
        "seen_at": fact.at,
        "trusted": fact.trusted,
    }


async def _known(session: ReadSession, ids: Collection[str]) -> dict[str, Mapping[str, Any]]:
    columns = [getattr(Product, name) for name in ("product_id", "trusted", "attributes", *DESCRIBED)]
    statement = select(*columns).where(among(Product.product_id, ids))
    if not ids:
        return {}
    return {row["product_id"]: dict(row) for row in (await session.execute(statement)).mappings()}
