"""Consent that events tell of becomes consent records."""

from __future__ import annotations

from database import consent
from domain.consent import ConsentRecord, ConsentSource, ConsentState, consent_of_event
from triggers.batch import BatchEvent, Wave


async def record_consents(wave: Wave) -> None:
    """Record what `Consent Granted`, `Consent Requested` and `Consent Withdrawn` say. A browser may ask and withdraw,
    but never grant: anybody can post in its name."""
    records = [record for event in wave.events if (record := _record(event)) is not None]
    requests = [record for record in records if record.state is ConsentState.PENDING]
    await consent.record(wave.session, [record for record in records if record.state is not ConsentState.PENDING])
    await consent.request(wave.session, requests)


def _record(event: BatchEvent) -> ConsentRecord | None:
    told = consent_of_event(event.event.name, event.event.properties)
    if told is None:
        return None
    purpose, channel, state = told
    if state is ConsentState.SUBSCRIBED and not event.event.trusted:
        return None
    source = ConsentSource.IMPORT if event.is_history else ConsentSource.EVENT
    evidence = {"source": event.event.source, "message_id": event.event.message_id}
    return ConsentRecord(
        *(event.customer.id, purpose, channel, state, event.event.timestamp, source, event.event.id, evidence)
    )
