"""Consent that events tell of becomes consent records, each for an address, and follows what changes addresses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from prometheus_client import Counter

from database import consent
from database.consent_addresses import follow_addresses, settle_consents
from database.routing import mark_ignored
from database.session import WriteSession
from domain.addresses import TRAIT_OF_CHANNEL
from domain.consent import (
    CONSENT_GRANTED,
    CONSENT_REQUESTED,
    GIVEN_AT,
    ConsentRecord,
    ConsentSource,
    ConsentState,
    address_of_event,
    addressed_channel,
    consent_of_event,
    evidence_of_event,
    is_act,
    unread_of_event,
)
from domain.events import EventKind
from triggers.batch import BatchEvent, Wave

IGNORED = Counter("perennial_consent_ignored", "What events said about consent and was not taken, by what", ["what"])

_TRAITS = tuple(TRAIT_OF_CHANNEL.values())


async def record_consents(wave: Wave) -> None:
    """Record what `Consent Granted`, `Consent Requested` and `Consent Withdrawn` say. A browser may ask and withdraw,
    but never grant: anybody can post in its name."""
    records = [record for event in wave.events if (record := _record(event)) is not None]
    await consent.record(wave.session, records)
    ignored = {event.event.id: found for event in wave.events if (found := _ignored(event))}
    joined = {customer.id for customer in wave.customers() if customer.is_joined}
    naming = [event for event in wave.events if _names_address(event)]
    moving = {event.customer.id for event in naming if _may_move(event)}
    settled = {record.customer_id for record in records} | joined | moving
    strange = await settle_consents(wave.session, settled)
    ignored |= {event.event.id: [_address_in(event)] for event in wave.events if event.event.id in strange}
    await _report(wave.session, ignored)
    await follow_addresses(wave.session, {event.customer.id for event in naming} - settled)
    for customer in wave.customers():
        customer.is_joined = False


def _ignored(event: BatchEvent) -> list[str]:
    """What of a grant or a request is not taken: a browser's grant, a purpose or channel that is none."""
    told = event.event
    if told.name not in (CONSENT_GRANTED, CONSENT_REQUESTED):
        return []
    if told.name == CONSENT_GRANTED and not told.trusted:
        return ["event"]
    return [f"properties.{name}" for name in unread_of_event(told.properties)]


def _address_in(event: BatchEvent) -> str:
    """Where a withdrawal names its address."""
    told = consent_of_event(event.event.name, event.event.properties)
    return "properties." + (TRAIT_OF_CHANNEL[addressed_channel(told[1])] if told else "email")


async def _report(session: WriteSession, ignored: Mapping[UUID, list[str]]) -> None:
    """Keep what was not taken with its event, for people to look at."""
    if ignored:
        await mark_ignored(session, ignored)
    for what in (each for found in ignored.values() for each in found):
        IGNORED.labels(what).inc()


def _record(event: BatchEvent) -> ConsentRecord | None:
    told = consent_of_event(event.event.name, event.event.properties)
    if told is None:
        return None
    purpose, channel, state = told
    if state is ConsentState.SUBSCRIBED and not event.event.trusted:
        return None
    return ConsentRecord(
        customer_id=event.customer.id,
        purpose=purpose,
        channel=channel,
        state=state,
        at=event.event.timestamp,
        source=ConsentSource.IMPORT if event.is_history else ConsentSource.EVENT,
        event_id=event.event.id,
        evidence=_evidence(event),
        address=address_of_event(channel, event.event.properties),
        sent=event.event.sent,
    )


def _evidence(event: BatchEvent) -> dict[str, Any]:
    """What the event proves. What an import calls an act has a time of its own and says how it was given."""
    told = event.event
    evidence = evidence_of_event(told.properties, told.context, source=told.source, message_id=told.message_id)
    if event.is_history and is_act(told.properties, told.timestamp, told.received_at):
        evidence[GIVEN_AT] = told.timestamp.isoformat()
    return evidence


def _names_address(event: BatchEvent) -> bool:
    """Whether it changes an address, or says what an address was before: most events repeat what is known."""
    told, changed = event.event, event.changed_traits or {}
    if told.kind != EventKind.IDENTIFY:
        return False
    return any(trait in told.traits and (trait in changed or _is_late(event, trait)) for trait in _TRAITS)


def _may_move(event: BatchEvent) -> bool:
    """Whether consent may belong elsewhere after it: a trusted source changed the address, or somebody tells late."""
    told = event.event
    return told.trusted or any(trait in told.traits and _is_late(event, trait) for trait in _TRAITS)


def _is_late(event: BatchEvent, trait: str) -> bool:
    writer = event.customer.profile.trait_times.get(trait)
    return writer is not None and event.event.timestamp.isoformat(timespec="microseconds") < str(writer[0])
