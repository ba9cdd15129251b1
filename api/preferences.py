"""What a customer may choose by the link in a message, and how a choice becomes consent at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from connectors.translations import Words, words_in
from database.acts import act_on_consent
from database.consent import record, standing
from database.consent_addresses import addressee, settle_consents
from database.customers import Customer, lock
from database.events import append
from database.message_reports import answered, event_about, named_address, report
from database.messages import Message
from database.runs import Run
from database.session import ReadSession, WriteSession
from domain.addresses import TRAIT_OF_CHANNEL
from domain.consent import (
    CONSENT_GRANTED,
    EVERY_CHANNEL,
    MARKETING,
    TRANSACTIONAL,
    TRIAL,
    Addressee,
    ConsentRecord,
    ConsentSource,
    ConsentState,
    Permission,
    StandingConsent,
    consent_of_event,
    decisive,
    permission,
)
from domain.ids import new_id
from domain.languages import languages_of
from domain.message_events import Kind, Report
from domain.shop_settings import ShopSettings

MOST_CHOICES = 50
"""Purposes that one page shows."""

_NEVER = (datetime.min.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC), UUID(int=0))


@dataclass(frozen=True, slots=True)
class Choice:
    """One purpose and whether the customer gets its messages."""

    purpose: str
    name: str
    is_on: bool


def offer(words: Words) -> str:
    """What the page says above the choices; part of the evidence of whoever chooses."""
    return words("Choose what you would like to hear about. Messages about your orders always reach you.")


def save_button(words: Words) -> str:
    """What the page's button says."""
    return words("Save my choices")


def confirm_button(words: Words) -> str:
    """What the button of a double opt-in says."""
    return words("Yes, please")


async def words_for(session: ReadSession, message: Message, settings: ShopSettings) -> Words:
    """In the language of the customer that the message went to, as that is known now, else the shop's."""
    customer = None if message.customer_id is None else await session.get(Customer, message.customer_id)
    spoken = () if customer is None else languages_of(customer.traits, customer.locale)
    return words_in((*spoken, settings.language))


async def choices_of(session: ReadSession, message: Message, settings: ShopSettings, words: Words) -> Sequence[Choice]:
    """The purposes that the customer has a record of, the message's own, and marketing, which comes first.

    Anybody can ask for purposes in a customer's name: of very many, those that are on and the latest ones are shown.
    """
    records, to = await _standing(session, message)
    latest = {record.purpose: record.order for record in sorted(records, key=lambda record: record.order)}
    choices = [
        Choice(
            purpose=purpose,
            name=_name_of(purpose, words),
            is_on=permission(records, purpose, message.channel, settings.consent_defaults, to) is Permission.GIVEN,
        )
        for purpose in sorted({MARKETING, message.purpose, *latest} - {TRANSACTIONAL, TRIAL})
    ]
    choices.sort(key=lambda choice: latest.get(choice.purpose, _NEVER), reverse=True)
    choices.sort(key=lambda choice: (choice.purpose not in (MARKETING, message.purpose), not choice.is_on))
    shown = choices[:MOST_CHOICES]
    return sorted(shown, key=lambda choice: (choice.purpose != MARKETING, choice.purpose))


def _name_of(purpose: str, words: Words) -> str:
    if purpose == MARKETING:
        return words("News and offers")
    return purpose.replace("_", " ").replace("-", " ").capitalize()


async def asked(session: ReadSession, message: Message) -> Sequence[str]:
    """The purposes that a yes to this message confirms: what its run was entered for, else all that is pending."""
    records, to = await _standing(session, message)
    fitting = [each for each in records if each.channel in (message.channel, EVERY_CHANNEL)]
    own = [each for each in fitting if to.address in (None, each.address)]
    latest = {purpose: decisive(own, purpose) for purpose in {each.purpose for each in own}}
    pending = sorted(purpose for purpose, found in latest.items() if found and found.state == ConsentState.PENDING)
    run = None if message.run_id is None else await session.get(Run, message.run_id)
    requested = (
        None if run is None else consent_of_event(run.entry.get("event") or "", run.entry.get("properties") or {})
    )
    return pending if requested is None else [purpose for purpose in pending if purpose == requested[0]]


def question(words: Words, shop: str, address: str, purposes: Sequence[str]) -> str:
    """What the page of a double opt-in asks; part of the evidence of whoever says yes."""
    topics = ", ".join(_name_of(purpose, words) for purpose in purposes)
    return words("May %(shop)s write to %(address)s about this: %(topics)s?", shop=shop, address=address, topics=topics)


async def _standing(session: ReadSession, message: Message) -> tuple[Sequence[StandingConsent], Addressee]:
    """What was said about the address that the message went to, whatever the customer's address is by now."""
    customer = None if message.customer_id is None else await session.get(Customer, message.customer_id)
    if customer is None:
        return [], Addressee(None, is_confirmed=False)
    to = await addressee(session, customer, message.channel, message.to)
    return await standing(session, customer.id, to.address), to


async def unsubscribe(
    session: WriteSession,
    message: Message,
    purposes: Collection[str],
    *,
    source: ConsentSource,
    evidence: Mapping[str, Any],
    as_of: datetime,
) -> None:
    """Withdraw consent, cancel what was claimed for it, and tell the customer's journeys: one transaction."""
    told = [
        Report(
            provider="perennial",
            event_id=f"{message.id}/unsubscribed/{new_id()}",
            kind=Kind.UNSUBSCRIBED,
            at=as_of,
            purpose=purpose,
            source=source,
            detail=evidence,
        )
        for purpose in purposes
    ]
    await report(session, [(message.id, each) for each in told], as_of)


async def subscribe(
    session: WriteSession,
    message: Message,
    purposes: Collection[str],
    words: Words,
    *,
    evidence: Mapping[str, Any],
    as_of: datetime,
) -> None:
    """Give consent again, or confirm the one that is pending, by the customer's own hand on the page, whose words are
    part of the evidence.
    """
    if message.customer_id is None:
        return
    await lock(session, [message.customer_id], skip_locked=False)
    records, to = await _standing(session, message)
    fitting = [each for each in records if each.channel in (message.channel, EVERY_CHANNEL)]
    for purpose in purposes:
        found = decisive([each for each in fitting if to.address in (None, each.address)], purpose)
        is_asked = found is not None and found.state == ConsentState.PENDING
        source = ConsentSource.DOUBLE_OPT_IN if is_asked else ConsentSource.PREFERENCES
        text = f"{offer(words)} [x] {_name_of(purpose, words)} [{save_button(words)}]"
        shown = {"text": text, **evidence}
        await _grant(session, message, message.customer_id, purpose, source=source, evidence=shown, as_of=as_of)
    if purposes:
        await answered(session, message, as_of)
        await settle_consents(session, [message.customer_id])


async def _grant(
    session: WriteSession,
    message: Message,
    customer_id: UUID,
    purpose: str,
    *,
    source: ConsentSource,
    evidence: Mapping[str, Any],
    as_of: datetime,
) -> None:
    event = await event_about(session, message, CONSENT_GRANTED, as_of, f"{message.id}/subscribed/{new_id()}")
    if event is None:
        return
    moment = await act_on_consent(session, customer_id, as_of)
    event.properties.update({"purpose": purpose, "channel": message.channel, **named_address(message)})
    granted = ConsentRecord(
        customer_id=customer_id,
        purpose=purpose,
        channel=message.channel,
        state=ConsentState.SUBSCRIBED,
        at=moment,
        source=source,
        event_id=event.id,
        evidence={
            "message_id": str(message.id),
            **named_address(message),
            **evidence,
        },
        address=message.to if message.channel in TRAIT_OF_CHANNEL else None,
    )
    await record(session, [granted])
    await append(session, [replace(event, timestamp=moment)])
