"""The send gate on live data: its facts, read under the customer's lock, and the pure decision about them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from database.customers import Customer
from database.messages import Message, gate_facts
from database.secrets import PSEUDONYMS, secret
from database.session import WriteSession
from domain.consent import permission
from domain.local_time import resolve_zone
from domain.messages import Candidate, Decision, cap_horizon, decide, deliverable_address
from domain.pseudonyms import address_pseudonym
from domain.shop_settings import ShopSettings


@dataclass(frozen=True, slots=True)
class Pending:
    """The customer has events that are not routed yet: one of them may end the run. Ask again in a moment."""


def address_for(customer: Customer, channel: str) -> str | None:
    """Where a message of a channel goes. A webhook goes to the shop, whose address its template has."""
    return deliverable_address(customer.traits) if channel == "email" else f"{channel}:{customer.id}"


async def pass_gate(
    session: WriteSession,
    message: Message,
    customer: Customer,
    settings: ShopSettings,
    as_of: datetime,
    *,
    is_available: bool,
) -> Decision | Pending:
    """Decide about one message. The caller holds the customer's lock until it has written what follows."""
    address = address_for(customer, message.channel)
    facts = await gate_facts(
        session,
        customer.id,
        channel=message.channel,
        address_hash=address_pseudonym(await secret(session, PSEUDONYMS), message.channel, address or ""),
        horizon=cap_horizon(settings, as_of),
        message_id=message.id,
        run_id=message.run_id,
    )
    if facts.has_pending_events:
        return Pending()
    candidate = Candidate(
        channel=message.channel,
        purpose=message.purpose,
        address=address,
        zone=resolve_zone(customer.zone, settings.zone),
        permission=permission(facts.consents, message.purpose, message.channel, settings.consent_defaults),
        suppression=facts.suppression,
        is_erased=customer.erased_at is not None,
        is_available=is_available,
        not_after=message.not_after,
        sent=facts.sent,
    )
    return decide(candidate, settings, as_of)
