"""What is recorded about one customer, as far as conditions ask for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from domain.carts import Cart


@dataclass(frozen=True, slots=True, kw_only=True)
class PastEvent:
    """A routed event; `number` is its routing number."""

    name: str
    timestamp: datetime
    number: int
    properties: Mapping[str, Any] = field(default_factory=dict)  # any JSON object
    context: Mapping[str, Any] = field(default_factory=dict)  # any JSON object
    trusted: bool = True  # not a browser's word


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a message: delivered, opened, clicked, bounced, complained, ...; `actor` is human or machine."""

    kind: str
    at: datetime
    actor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PastMessage:
    """A message of ours; `sent_at` is when a provider accepted it."""

    template: str
    channel: str = "email"
    journey: str | None = None
    campaign: str | None = None
    sent_at: datetime | None = None
    reports: Sequence[Report] = ()


@dataclass(frozen=True, slots=True)
class PastConsent:
    """A consent record; state `subscribed`, `unsubscribed` or `pending`."""

    purpose: str
    channel: str
    state: str
    at: datetime
    trusted: bool = True  # not a browser's word


@dataclass(frozen=True, slots=True, kw_only=True)
class PastLot:
    """Points that came in together, and what is left of them."""

    remaining: int
    is_pending: bool = False
    activates_at: datetime | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PastTier:
    """A tier (None: none at all) that the customer had from one moment up to, and without, another."""

    tier: str | None
    start: datetime
    end: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Loyalty:
    """The customer's part in the programme that is live. `levels`: tier -> what it takes."""

    levels: Mapping[str, int] = field(default_factory=dict)
    tiers: Sequence[PastTier] = ()
    lots: Sequence[PastLot] = ()
    deficit: int = 0
    earned: int = 0
    spent: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The events that count, messages, consent records in the order they were made, and a run's own facts.

    `consent_defaults` is the shop's state by purpose for customers without a record (absent: `none`); `entry_number` is
    the routing number at entry, without which `since_entry` goes by `entered_at`. `currency` is the shop's;
    `browser_carts`: a browser has told of a cart.
    """

    customer_id: UUID
    events: Sequence[PastEvent] = ()
    messages: Sequence[PastMessage] = ()
    consents: Sequence[PastConsent] = ()
    consent_defaults: Mapping[str, str] = field(default_factory=dict)
    variants: Mapping[str, str] = field(default_factory=dict)
    entered_at: datetime | None = None
    entry_number: int | None = None
    loyalty: Loyalty | None = None  # None: no programme is live
    carts: Sequence[Cart] = ()
    browser_carts: bool = False
    currency: str = "EUR"

    def trusted(self) -> History:
        """What is left of it where value is decided: our own reports of opens and clicks stay."""
        events = [event for event in self.events if event.trusted]
        consents = [consent for consent in self.consents if consent.trusted]
        return replace(self, events=events, consents=consents, carts=() if self.browser_carts else self.carts)
