"""What was recorded about customers, as a simulation plays it. Reads only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Boolean, ColumnElement, and_, literal_column, or_, select

from database.confirmed_addresses import standings_of
from database.consent import Consent
from database.customers import Customer, trusted_profile
from database.events import Event
from database.messages import OF_TRUSTED_RUN, Message, MessageEvent
from database.programmes import LiveProgramme
from database.recorded_points import recorded_loyalty
from database.secrets import PSEUDONYMS, known_secret
from database.session import ReadSession
from database.suppressions import as_suppressed, suppressions_of
from database.untrusted_runs import trusted_since
from database.vouching import is_vouched
from domain.addresses import address_of
from domain.conditions.history import PastMessage, Report
from domain.consent import Addressee, StandingConsent, is_statement
from domain.journeys.waiting import Happening
from domain.messages import RESERVED, Sent, deliverable_address
from domain.pseudonyms import address_pseudonym
from domain.simulations import RecordedCustomer

PAGE = 100
"""Customers whose records are held at once."""

MOST_EVENTS = 5_000
"""Events of one customer that count, the latest."""


async def who_could_enter(
    session: ReadSession, names: Collection[str], start: datetime, end: datetime, *, everybody: bool, limit: int
) -> Sequence[UUID]:
    """Identified customers with such an event in the period, or all of them, by id. By ix_events_name_timestamp."""
    known = and_(Customer.external_id.is_not(None), Customer.merged_into.is_(None), Customer.erased_at.is_(None))
    did = select(Event.customer_id).where(Event.name.in_(names), Event.timestamp >= start, Event.timestamp < end)
    which: ColumnElement[bool] = known if everybody else and_(known, Customer.id.in_(did))
    return (await session.execute(select(Customer.id).where(which).order_by(Customer.id).limit(limit))).scalars().all()


async def recordings(
    session: ReadSession,
    customer_ids: Sequence[UUID],
    names: Collection[str],
    end: datetime,
    *,
    journey: str,
    with_traits: bool,
    programme: LiveProgramme | None = None,
) -> AsyncIterator[list[RecordedCustomer]]:
    """The customers in pages, with those of their events that can matter. `journey`'s own messages are left out.

    `programme`: the live one, if points and tiers matter.
    """
    for first in range(0, len(customer_ids), PAGE):
        ids = customer_ids[first : first + PAGE]
        events = await _events(session, ids, names, end, with_traits=with_traits)
        known_since = await trusted_since(session, ids)
        messages, sent = await _messages(session, ids, journey)
        loyalty = await recorded_loyalty(session, programme, ids) if programme else {}
        known = select(Customer).where(Customer.id.in_(ids)).order_by(Customer.id)
        rows = (await session.execute(known)).scalars().all()
        addresses = {row.id: deliverable_address(row.traits) for row in rows}
        sent_to = {address for address in addresses.values() if address}
        suppressed = await suppressions_of(session, "email", sent_to, end)
        addressees = await _addressees(session, rows)
        consents = await _consents(session, addressees)
        yield [
            RecordedCustomer(
                id=row.id,
                external_id=row.external_id or str(row.id),
                traits=row.traits,
                trusted_traits=(trusted := trusted_profile(row)).traits,
                zone=row.zone,
                trusted_zone=trusted.zone,
                address=addresses[row.id],
                addressee=addressees[row.id],
                suppressions=as_suppressed(suppressed.get(addresses[row.id] or "", [])),
                events=events[row.id][-MOST_EVENTS:],
                consents=consents[row.id],
                messages=messages[row.id],
                sent=sent[row.id],
                trusted_since=known_since.get(row.id),
                loyalty=loyalty.get(row.id),
            )
            for row in rows
        ]


async def _events(
    session: ReadSession, ids: Sequence[UUID], names: Collection[str], end: datetime, *, with_traits: bool
) -> dict[UUID, list[Happening]]:
    """By ix_events_customer_name."""
    matter: ColumnElement[bool] = Event.name.in_(names)
    if with_traits:
        matter = or_(matter, Event.changed_traits.is_not(None))
    statement = select(Event, is_vouched(Event)).where(
        Event.customer_id.in_(ids), Event.number.is_not(None), Event.timestamp < end, matter
    )
    found: dict[UUID, list[Happening]] = defaultdict(list)
    for event, is_trusted in await session.execute(statement.order_by(Event.timestamp, Event.number)):
        if event.customer_id is not None and event.number is not None:
            found[event.customer_id].append(
                Happening(
                    event_id=event.id,
                    number=event.number,
                    own=event.own,
                    name=event.name,
                    properties=event.properties,
                    changed_traits=event.changed_traits,
                    timestamp=event.timestamp,
                    received_at=event.timestamp,  # the virtual clock shows when things happened
                    trusted=is_trusted,
                )
            )
    return found


async def _addressees(session: ReadSession, rows: Collection[Customer]) -> dict[UUID, Addressee]:
    """Whom mail reaches now, as far as consent asks."""
    key = await known_secret(session, PSEUDONYMS)
    standings = await standings_of(session, rows, "email")
    found = {}
    for row in rows:
        address, standing = address_of(row.traits, "email"), standings.get(row.id)
        found[row.id] = Addressee(None, is_confirmed=False, takes_value=False)
        if address is not None and standing is not None:
            hashed = address_pseudonym(key or b"", "email", address)
            found[row.id] = Addressee(hashed, standing.is_answered, standing.takes_value)
    return found


async def _consents(session: ReadSession, addressees: Mapping[UUID, Addressee]) -> dict[UUID, list[StandingConsent]]:
    """All records; those that nobody has settled yet are taken to be for the present address."""
    found: dict[UUID, list[StandingConsent]] = defaultdict(list)
    statement = select(Consent).where(Consent.customer_id.in_(addressees))
    rows = await session.scalars(statement.order_by(Consent.at, Consent.sent, Consent.event_id))
    for row in rows:
        order = (row.at, row.sent, row.event_id)
        address = addressees[row.customer_id].address if row.address_given is None else row.address_hash
        found[row.customer_id].append(
            StandingConsent(
                *(row.purpose, row.channel, row.state, row.at, row.source, order, address, row.counts),
                is_statement=is_statement(row.source, row.state, row.evidence),
            )
        )
    return found


async def _messages(
    session: ReadSession, ids: Sequence[UUID], journey: str
) -> tuple[dict[UUID, list[PastMessage]], dict[UUID, list[Sent]]]:
    """Messages of other journeys, with their reports for conditions, and as what counts towards caps."""
    messages: dict[UUID, list[PastMessage]] = defaultdict(list)
    sent: dict[UUID, list[Sent]] = defaultdict(list)
    others = or_(Message.journey.is_(None), Message.journey != journey)
    by_trust = literal_column(OF_TRUSTED_RUN, Boolean()).label("was_trusted")
    statement = select(Message, by_trust).where(Message.customer_id.in_(ids), others, Message.state.in_(RESERVED))
    rows = (await session.execute(statement.order_by(Message.created_at))).all()
    reports = await _reports(session, [row.id for row, _ in rows])
    for row, was_trusted in rows:
        if row.customer_id is not None:
            sent[row.customer_id].append(Sent(row.created_at, row.channel, row.purpose, was_trusted))
            messages[row.customer_id].append(
                PastMessage(
                    template=row.template,
                    channel=row.channel,
                    journey=row.journey,
                    campaign=row.campaign,
                    sent_at=row.accepted_at,
                    reports=reports[row.id],
                )
            )
    return messages, sent


async def _reports(session: ReadSession, message_ids: Sequence[UUID]) -> dict[UUID, list[Report]]:
    found: dict[UUID, list[Report]] = defaultdict(list)
    statement = select(MessageEvent).where(MessageEvent.message_id.in_(message_ids)).order_by(MessageEvent.at)
    for row in (await session.execute(statement)).scalars():
        found[row.message_id].append(Report(row.kind, row.at, row.actor))
    return found
