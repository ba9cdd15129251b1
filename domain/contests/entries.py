"""How entries are named and counted."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from domain.contests.definition import EntryRule
from domain.periods import period_of


def counted_in(rule: EntryRule, moment: datetime, zone: ZoneInfo) -> str:
    """The period that the rule's limit counts an entry in: a local day, week or month, or the whole contest."""
    return period_of(moment.astimezone(zone).date(), rule.per)


def order_source(order_id: str) -> str:
    """The natural source of an order's entries."""
    return f"order/{order_id}"


def call_source(reference: str) -> str:
    """The natural source of an entry that the shop asks for under a reference of its own."""
    return f"call/{reference}"
