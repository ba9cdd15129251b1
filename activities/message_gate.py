"""The send gate on live data: its facts, read under the customer's lock, and the pure decision about them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from activities.opt_in_gate import allowance_of, keep_to_limit
from activities.steps import OpenStep
from database.confirmed_addresses import named_first
from database.consent_addresses import settle_consents
from database.customers import Customer
from database.messages import GateFacts, Message, gate_facts
from database.secrets import PSEUDONYMS, secret
from database.session import WriteSession
from domain.addresses import TRAIT_OF_CHANNEL, Standing, address_of, is_trusted_address
from domain.consent import Addressee, permission
from domain.journeys.value import is_of_value
from domain.local_time import resolve_zone
from domain.messages import Candidate, Decision, Reason, Send, Skip, cap_horizon, decide, deliverable_address
from domain.pseudonyms import address_pseudonym, address_pseudonyms
from domain.shop_settings import ShopSettings
from domain.suppressions import cause_against


@dataclass(frozen=True, slots=True)
class Pending:
    """The customer has events that are not routed yet: one of them may end the run. Ask again in a moment."""


def address_for(customer: Customer, channel: str) -> str | None:
    """Where a message of a channel goes. A webhook goes to the shop, whose address its template has."""
    return deliverable_address(customer.traits) if channel == "email" else f"{channel}:{customer.id}"


def has_moved(message: Message, customer: Customer) -> bool:
    """Whether the customer's address changed after the claim, which made the message for the former one."""
    present = address_for(customer, message.channel)
    return message.channel in TRAIT_OF_CHANNEL and present not in (None, message.to)


async def pass_gate(
    session: WriteSession,
    message: Message,
    opened: OpenStep,
    settings: ShopSettings,
    as_of: datetime,
    *,
    is_available: bool,
) -> Decision | Pending:
    """Decide about one message. The caller holds the customer's lock until it has written what follows."""
    customer = opened.customer
    address = address_for(customer, message.channel)
    named = address_of(customer.traits, message.channel)
    key = await secret(session, PSEUDONYMS)
    address_hash = None if named is None else address_pseudonym(key, message.channel, named)
    facts = await _facts(session, message, customer, settings, key=key, address_hash=address_hash, as_of=as_of)
    if isinstance(facts, Pending):
        return facts
    worth_something = is_of_value(opened.definition)
    standing = None if named is None else _standing(customer, message.channel, facts)
    if worth_something and address_hash is not None and standing is Standing.ANSWERED and settings.unconfirmed != "all":
        first = await named_first(session, key, message.channel, {customer.id: address_hash})
        standing = Standing.ANSWERED if first else Standing.NAMED_LATE
    to = Addressee(address_hash, is_confirmed=standing is None or standing.is_answered)
    candidate = Candidate(
        channel=message.channel,
        purpose=message.purpose,
        address=address,
        zone=resolve_zone(customer.zone, settings.zone),
        permission=permission(facts.consents, message.purpose, message.channel, settings.consent_defaults, to),
        suppression=cause_against(facts.suppressions, message.purpose, facts.consents, to),
        is_erased=customer.erased_at is not None,
        is_available=is_available,
        is_confirmed=standing is None or standing.takes_value or not worth_something,
        is_silenced=opened.run.silenced is not None and not facts.has_given,
        not_after=message.not_after,
        is_trusted=opened.run.trusted,
        sent=facts.sent,
    )
    decision = decide(candidate, settings, as_of)
    if standing is not None and isinstance(decision, Skip) and decision.reason is Reason.ADDRESS_UNCONFIRMED:
        return Skip(decision.reason, {"address": standing, "advice": standing.advice})
    if isinstance(decision, Send) and named is not None and address_hash is not None and standing is not None:
        allowance = allowance_of(opened.run, message, address_hash, standing, facts.consents)
        if allowance is not None:
            limit = settings.opt_in_mails
            return await keep_to_limit(session, key, message, named, allowance, limit=limit, as_of=as_of)
    return decision


async def _facts(
    session: WriteSession,
    message: Message,
    customer: Customer,
    settings: ShopSettings,
    *,
    key: bytes,
    address_hash: bytes | None,
    as_of: datetime,
) -> GateFacts | Pending:
    """What the database knows, once all consents have their addresses."""

    async def ask() -> GateFacts:
        return await gate_facts(
            session,
            customer.id,
            channel=message.channel,
            address_hash=address_hash,
            spellings=address_pseudonyms(key, message.channel, address_for(customer, message.channel) or ""),
            horizon=cap_horizon(settings, as_of),
            message_id=message.id,
            run_id=message.run_id,
            as_of=as_of,
        )

    facts = await ask()
    if facts.has_pending_events:
        return Pending()
    if facts.is_settled:
        return facts
    await settle_consents(session, [customer.id])  # an older release recorded them: once for each customer
    return await ask()


def _standing(customer: Customer, channel: str, facts: GateFacts) -> Standing:
    """How far the address is confirmed, as far as ordinary messages ask."""
    if is_trusted_address(customer.traits, customer.trait_times, channel):
        return Standing.TRUSTED
    return Standing.ANSWERED if facts.has_answered else Standing.UNANSWERED
