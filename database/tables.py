"""Every table, imported once, so that the metadata is whole for migrations."""

from database import (
    audit,
    consent,
    customers,
    documents,
    erasures,
    events,
    journeys,
    keys,
    messages,
    orders,
    outbox,
    products,
    provider_rates,
    runs,
    secrets,
    shop_settings,
)
from database.base import Table

__all__ = [
    "audit",
    "consent",
    "customers",
    "documents",
    "erasures",
    "events",
    "journeys",
    "keys",
    "messages",
    "metadata",
    "orders",
    "outbox",
    "products",
    "provider_rates",
    "runs",
    "secrets",
    "shop_settings",
]

metadata = Table.metadata
