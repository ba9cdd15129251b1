"""Writing down what is reported about a message, and all that follows in the same transaction.

The message's state, suppression of dead addresses, withdrawn consent, cancelled messages, and an event of the
customer, so that journeys hear of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select

from database.acts import act_on_consent
from database.consent import keep_answer, record
from database.customers import Customer, Identity, erased_among, lock
from database.events import append
from database.messages import Message, add_message_events, cancel_claimed
from database.session import ReadSession, WriteSession
from database.suppressions import suppress
from domain.addresses import TRAIT_OF_CHANNEL
from domain.consent import CONSENT_WITHDRAWN, MARKETING, TRANSACTIONAL, ConsentRecord, ConsentSource, ConsentState
from domain.engagement import Actor
from domain.events import EventKind, NewEvent
from domain.identities import IdKind
from domain.message_events import EVENT_NAMES, Kind, Report, state_after
from domain.messages import MessageState, Reason

REFUSALS = frozenset({Kind.BOUNCED, Kind.BLOCKED, Kind.DROPPED})
SOURCE = "perennial"
"""The source of events that the product itself tells; nobody outside can use it."""


async def report(session: WriteSession, reports: Sequence[tuple[UUID, Report]], as_of: datetime) -> int:
    """Write down reports by message id; answers how many were new. Those about messages nobody knows are dropped; of
    messages to people who were erased they count, and nothing that they say is kept.

    Locks the customers concerned in the order of their ids, as everything does that decides about them.
    """
    messages = await _messages(session, {message_id for message_id, _ in reports})
    customers = {message.customer_id for message in messages.values() if message.customer_id is not None}
    await lock(session, customers, skip_locked=False)
    erased = await erased_among(session, customers)
    new = 0
    for message_id, told in reports:
        message = messages.get(message_id)
        if message is not None:
            await session.refresh(message, with_for_update=True)
            new += await _write(session, message, told, as_of, is_erased=message.customer_id in erased)
    return new


async def _messages(session: WriteSession, ids: set[UUID]) -> dict[UUID, Message]:
    found = (await session.execute(select(Message).where(Message.id.in_(ids)))).scalars()
    return {message.id: message for message in found}


async def _write(session: WriteSession, message: Message, told: Report, as_of: datetime, *, is_erased: bool) -> bool:
    row = {
        "provider": told.provider,
        "provider_event_id": told.event_id,
        "message_id": message.id,
        "kind": told.kind,
        "actor": told.actor,
        "at": told.at,
        "detail": {} if is_erased else dict(told.detail),
    }
    if not await add_message_events(session, [row]):
        return False
    _settle(message, told)
    if told.kind is Kind.CLICKED and told.actor is Actor.HUMAN and told.provider == SOURCE and not is_erased:
        await answered(session, message, told.at)
    await _protect(session, message, told, as_of)
    await _tell(session, message, told, as_of)
    return True


async def answered(session: WriteSession, message: Message, at: datetime) -> None:
    """A person has opened what only a reader of the mailbox has: the customer's address is confirmed."""
    if message.customer_id is not None and message.to and message.channel in TRAIT_OF_CHANNEL:
        await keep_answer(session, message.customer_id, message.channel, message.to, at)


def _settle(message: Message, told: Report) -> None:
    before = MessageState(message.state)
    after = state_after(told.kind, before, was_attempted=bool(message.attempts))
    if after is before:
        return
    message.state = after
    message.accepted_at = message.accepted_at or told.at
    if after is MessageState.BOUNCED:
        message.reason = Reason.HARD_BOUNCE if told.is_hard else told.kind
    elif before is not MessageState.ACCEPTED:
        message.reason, message.rule, message.settled_at = None, None, told.at


async def _protect(session: WriteSession, message: Message, told: Report, as_of: datetime) -> None:
    """Complaints and dead addresses suppress at once; whoever complains or unsubscribes gets nothing that waits."""
    if told.kind is Kind.COMPLAINED:
        await _suppress(session, message, Reason.COMPLAINT, as_of)
        await _withdraw(session, message, MARKETING, told, as_of)
    elif told.kind is Kind.UNSUBSCRIBED:
        purpose = told.purpose or message.purpose
        await _withdraw(session, message, MARKETING if purpose == TRANSACTIONAL else purpose, told, as_of)
    elif told.is_hard:
        await _suppress(session, message, Reason.HARD_BOUNCE, as_of)


async def _suppress(session: WriteSession, message: Message, reason: Reason, as_of: datetime) -> None:
    if message.to:
        await suppress(session, message.channel, [message.to], reason=reason, at=as_of, message_id=message.id)


async def _withdraw(session: WriteSession, message: Message, purpose: str, told: Report, as_of: datetime) -> None:
    is_complaint = told.kind is Kind.COMPLAINED
    event = await event_about(session, message, CONSENT_WITHDRAWN, as_of, f"{told.provider}/{told.event_id}/consent")
    if message.customer_id is None or event is None:
        return
    moment = await act_on_consent(session, message.customer_id, as_of)
    event.properties.update({"purpose": purpose, "channel": message.channel, **named_address(message)})
    withdrawn = ConsentRecord(
        customer_id=message.customer_id,
        purpose=purpose,
        channel=message.channel,
        state=ConsentState.UNSUBSCRIBED,
        at=moment,
        source=ConsentSource.COMPLAINT if is_complaint else told.source,
        event_id=event.id,
        evidence={"message_id": str(message.id), **told.detail},
        address=message.to if message.channel in TRAIT_OF_CHANNEL else None,
    )
    await record(session, [withdrawn])
    await cancel_claimed(
        session,
        message.customer_id,
        channel=message.channel,
        purpose=None if purpose == MARKETING else purpose,
        reason=Reason.COMPLAINT if is_complaint else Reason.UNSUBSCRIBED,
    )
    await append(session, [replace(event, timestamp=moment)])


async def _tell(session: WriteSession, message: Message, told: Report, as_of: datetime) -> None:
    """The customer's event. Journeys wait for human opens and clicks only, so `machine` is always said."""
    name = EVENT_NAMES.get(told.kind)
    event = name and await event_about(session, message, name, as_of, f"{told.provider}/{told.event_id}")
    if not event:
        return
    event.properties.update(
        {
            "message_id": str(message.id),
            "template": message.template,
            "journey": message.journey,
            "run_id": str(message.run_id) if message.run_id else None,
            "step": message.step,
            "machine": told.actor is not None and told.actor != "human",
            **({"actor": told.actor} if told.actor else {}),
            **({"hard": told.is_hard, "fault": told.fault} if told.kind in REFUSALS else {}),
        }
    )
    await append(session, [event])


def named_address(message: Message) -> dict[str, str]:
    """The address that a message went to, as events of consent name it."""
    trait = TRAIT_OF_CHANNEL.get(message.channel)
    return {} if trait is None or not message.to else {trait: message.to}


async def event_about(
    session: ReadSession, message: Message, name: str, as_of: datetime, message_id: str
) -> NewEvent | None:
    """An event of the message's customer, without properties yet; None when the message has no customer."""
    who = await _known_as(session, message.customer_id)
    if who is None:
        return None
    user_id, anonymous_id = who
    properties: dict[str, Any] = {}  # JSON
    return NewEvent(
        source=SOURCE,
        message_id=message_id,
        kind=EventKind.TRACK,
        name=name,
        timestamp=as_of,
        received_at=as_of,
        user_id=user_id,
        anonymous_id=anonymous_id,
        properties=properties,
        own=True,
    )


async def _known_as(session: ReadSession, customer_id: UUID | None) -> tuple[str | None, str | None] | None:
    """The customer's user id, else an anonymous id; None for nobody. By ix_identities_customer_id."""
    if customer_id is None:
        return None
    customer = await session.get(Customer, customer_id)
    if customer is not None and customer.external_id is not None:
        return customer.external_id, None
    identities = select(Identity.kind, Identity.value).where(Identity.customer_id == customer_id)
    found = (
        await session.execute(identities.order_by(Identity.kind.desc(), Identity.first_seen).limit(1))
    ).one_or_none()
    if found is None:
        return None
    return (found.value, None) if found.kind == IdKind.USER else (None, found.value)
