"""What a template finds when a message is rendered: plain JSON, the same for live messages, previews and samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from domain.carts import CART_EVENTS, cart_id_of, cart_link_of, without_foreign_links
from domain.commerce import cart_lines_of, event_currency
from domain.shop_settings import ShopSettings

Json = Mapping[str, Any]  # any JSON object


def customer_context(
    customer_id: str | None, traits: Json, *, points: Mapping[str, int] | None = None, tier: str | None = None
) -> dict[str, Any]:
    """`customer`. `points` (available, pending, held) and `tier` are the loyalty programme's, null without one."""
    return {"id": customer_id, "traits": dict(traits), "points": points and dict(points), "tier": tier}


def message_context(purpose: str, languages: Sequence[str] = ()) -> dict[str, Any]:
    """`message`: its purpose, for words that not every kind of mail may say, and its reader's languages, best first."""
    return {"purpose": purpose, "languages": list(languages)}


def shop_context(settings: ShopSettings) -> dict[str, Any]:
    """`shop`."""
    return {
        "name": settings.name,
        "language": settings.language,
        "zone": settings.zone,
        "currency": settings.currency,
        "website": settings.website,
        "logo_url": settings.logo_url,
        "accent_color": settings.accent_color,
        "postal_address": settings.postal_address,
        "email": settings.sender.reply_to or settings.sender.email,
    }


@dataclass(frozen=True, slots=True)
class KeptCart:
    """A cart as events have folded it: its lines (prices in minor units, each with its currency) and its link."""

    lines: Sequence[Json]
    url: str | None


def cart_context(kept: KeptCart | None, entry: Json, settings: ShopSettings) -> dict[str, Any]:
    """`cart`: its products with prices as money, its total, and `url`, where shopping goes on.

    Without a kept cart the products of the entering event stand in, or the event's own product; where the event is a
    cart's, a cart that is empty by now stays empty. Prices in several currencies have no total, and then there is no
    `currency` either.
    """
    properties = entry.get("properties")
    told: Json = properties if isinstance(properties, Mapping) else {}
    if not entry.get("trusted", True):
        told = without_foreign_links(told, settings)
    stated = event_currency(told) or settings.currency
    is_of_cart = bool(cart_id_of(told)) or entry.get("event") in CART_EVENTS
    lines = kept.lines if kept and (kept.lines or is_of_cart) else cart_lines_of(_told_products(told), stated)
    products = [_product(line, line.get("currency") or stated) for line in lines]
    totals = [product["total"] for product in products if product["total"] is not None]
    currencies = {total["currency"] for total in totals} or {stated}
    currency = currencies.pop() if len(currencies) == 1 else None
    is_whole = bool(totals) and len(totals) == len(products)
    return {
        "products": products,
        "count": sum(product["quantity"] for product in products),
        "total": _money(sum(total["amount"] for total in totals), currency) if currency and is_whole else None,
        "currency": currency,
        "url": cart_link_of(told) or (kept.url if kept else None) or settings.website,
    }


def _told_products(told: Json) -> list[Any]:
    listed = told.get("products")
    if isinstance(listed, list):
        return listed
    return [told] if told.get("name") or told.get("product_id") else []


def _product(line: Json, currency: str) -> dict[str, Any]:
    price, quantity = line.get("price"), line.get("quantity")
    count = quantity if isinstance(quantity, int) and quantity > 0 else 1
    kept = {key: line.get(key) for key in ("product_id", "sku", "name", "variant", "brand", "url", "image_url")}
    return kept | {
        "quantity": count,
        "price": _money(price, currency) if isinstance(price, int) else None,
        "total": _money(price * count, currency) if isinstance(price, int) else None,
    }


def _money(amount: int, currency: str) -> dict[str, Any]:
    return {"amount": amount, "currency": currency}
