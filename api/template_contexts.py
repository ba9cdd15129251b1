"""The context that a template is previewed, tested and checked with: a customer's own, or a sample."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from activities.message_content import kept_cart
from database.customers import Customer
from database.loyalty import loyalty_of
from database.run_lists import page_of_runs
from database.session import ReadSession
from domain.emails import Addresses
from domain.message_context import cart_context, customer_context, message_context, shop_context
from domain.shop_settings import ShopSettings

ADDRESSES = Addresses(base="https://shop.example", unsubscribe="preview", view="preview")
_LINKS = ADDRESSES.links() | {"referral": "https://shop.example/r/PREV1EW0"}
"""A preview's links lead nowhere, so that nobody unsubscribes by clicking around in one."""


def sample_context(sample: Mapping[str, Any], settings: ShopSettings, *, purpose: str) -> dict[str, Any]:
    """A whole context from a sample, which may leave anything out."""
    customer, entry = _object(sample.get("customer")), _object(sample.get("entry"))
    traits = _object(customer.get("traits"))
    context: dict[str, Any] = {  # any JSON
        "customer": customer_context("sample", traits) | customer,
        "entry": {"event": None, "properties": {}} | entry,
        "saved": _object(sample.get("saved")),
        "shop": shop_context(settings) | _object(sample.get("shop")),
        "cart": cart_context(None, entry, settings) | _object(sample.get("cart")),
        "links": _LINKS,
        "message": message_context(purpose),
    }
    return {**sample, **context}


async def context_for(
    session: ReadSession,
    customer: Customer,
    sample: Mapping[str, Any],
    settings: ShopSettings,
    *,
    purpose: str,
    as_of: datetime,
) -> dict[str, Any]:
    """The context of a customer: the entry and answers of the latest run, where there is none those of the sample."""
    runs = await page_of_runs(session, customer_id=customer.id, limit=1)
    loyalty = await loyalty_of(session, customer.id, as_of)
    entry = runs[0].run.entry if runs else _object(sample.get("entry"))
    return {
        "customer": customer_context(customer.external_id, customer.traits, points=loyalty.points, tier=loyalty.tier),
        "entry": entry,
        "saved": runs[0].run.saved if runs else _object(sample.get("saved")),
        "shop": shop_context(settings),
        "cart": cart_context(await kept_cart(session, customer.id, entry), entry, settings),
        "links": _LINKS,
        "message": message_context(purpose),
    }


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
