"""What a template finds when a message is rendered: plain JSON, the same for live messages, previews and samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from domain.commerce import lines_of
from domain.money import currency_of
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


def cart_context(lines: Sequence[Json] | None, entry: Json, settings: ShopSettings) -> dict[str, Any]:
    """`cart`: its products with prices as money, its total, and `url`, where shopping goes on.

    `lines` is the cart as events have folded it (prices in minor units). Without one, the products of the entering
    event stand in, or the event's own product.
    """
    properties = entry.get("properties")
    told: Json = properties if isinstance(properties, Mapping) else {}
    currency = currency_of(told.get("currency"), settings.currency)
    products = [_product(line, currency) for line in (lines or _told_lines(told, currency))]
    known = [product["total"]["amount"] for product in products if product["total"] is not None]
    return {
        "products": products,
        "count": sum(product["quantity"] for product in products),
        "total": _money(sum(known), currency) if known and len(known) == len(products) else None,
        "currency": currency,
        "url": _text(told, "checkout_url") or _text(told, "cart_url") or settings.website,
    }


def _told_lines(told: Json, currency: str) -> list[dict[str, Any]]:
    listed = told.get("products")
    products = listed if isinstance(listed, list) else [told] if told.get("name") or told.get("product_id") else []
    return lines_of(products, currency)


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


def _text(values: Json, key: str) -> str | None:
    value = values.get(key)
    return value if isinstance(value, str) and value else None
