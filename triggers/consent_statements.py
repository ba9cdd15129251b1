"""What an import states about consent, held against what customers have taken back themselves.

The router goes by the same rule whenever a withdrawal comes in; here the import's report says so at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text

from database.consent import IS_STATEMENT
from database.secrets import PSEUDONYMS, secret
from database.session import WriteSession
from domain.addresses import address_of
from domain.consent import (
    CONSENT_GRANTED,
    CONSENT_WITHDRAWN,
    EVERY_CHANNEL,
    MARKETING,
    ConsentState,
    address_of_event,
    addressed_channel,
    consent_of_event,
    is_act,
)
from domain.events import EventKind, NewEvent
from domain.pseudonyms import address_pseudonym

# What these customers did last for each purpose and channel. By pk_identities and ix_consents_customer.
_ACTS = text(f"""
    SELECT DISTINCT ON (identities.value, purpose, channel) identities.value AS user_id, purpose, channel, state
    FROM identities JOIN consents ON consents.customer_id = identities.customer_id
    WHERE identities.kind = 'user' AND identities.value = ANY(:user_ids) AND state <> 'pending' AND NOT {IS_STATEMENT}
    ORDER BY identities.value, purpose, channel, at DESC, sent DESC, event_id DESC
""")  # noqa: S608  constants

# Withdrawals that wait to be routed. By ix_events_pending_subject.
_WAITING = text("""
    SELECT user_id, name, properties FROM events
    WHERE status = 'pending' AND subject = ANY(:subjects) AND name = :name
""")

# Who has taken back an address, whoever it was. By ix_consents_withdrawn.
_ADDRESSES = text("""
    SELECT DISTINCT address_hash, purpose, channel FROM consents
    WHERE state = 'unsubscribed' AND address_hash = ANY(:addresses)
""")


@dataclass(frozen=True, slots=True)
class Statement:
    """That somebody is subscribed, as another system says. `address`: the one of the row, if any."""

    user_id: str
    purpose: str
    channel: str
    address: str | None

    def is_covered_by(self, purpose: str, channel: str) -> bool:
        """Whether a withdrawal of this purpose and channel takes back what is stated."""
        is_about = purpose in (self.purpose, MARKETING)
        return is_about and (channel in (self.channel, EVERY_CHANNEL) or self.channel == EVERY_CHANNEL)


def statement_of(event: NewEvent, row: Iterable[NewEvent] = ()) -> Statement | None:
    """What an imported event, one of a row's, states without being an act; None for any other."""
    told = consent_of_event(event.name, event.properties) if event.name == CONSENT_GRANTED else None
    if told is None or event.user_id is None or is_act(event.properties, event.timestamp, event.received_at):
        return None
    purpose, channel, _ = told
    named = (address_of(each.traits, addressed_channel(channel)) for each in row if each.kind is EventKind.IDENTIFY)
    address = address_of_event(channel, event.properties) or next(named, None)
    return Statement(event.user_id, purpose, channel, address)


async def find_withdrawn(session: WriteSession, stated: Mapping[UUID, Statement]) -> set[UUID]:
    """The events whose statement says yes where the customer, or the reader of the address, has said no."""
    if not stated:
        return set()
    said = await _said(session, {statement.user_id for statement in stated.values()})
    void = {id_ for id_, statement in stated.items() if _is_void(statement, said[statement.user_id])}
    silent = {id_: each for id_, each in stated.items() if each.address and not said[each.user_id]}
    return void | await _taken_back(session, silent)


_Said = tuple[str, str, str]  # purpose, channel, state


def _is_void(statement: Statement, said: Iterable[_Said]) -> bool:
    return any(
        state == ConsentState.UNSUBSCRIBED and statement.is_covered_by(purpose, channel)
        for purpose, channel, state in said
    )


async def _said(session: WriteSession, user_ids: set[str]) -> Mapping[str, list[_Said]]:
    said: dict[str, list[_Said]] = defaultdict(list)
    for row in await session.execute(_ACTS, {"user_ids": sorted(user_ids)}):
        said[row.user_id].append((row.purpose, row.channel, row.state))
    subjects = [f"u:{user_id}" for user_id in sorted(user_ids)]
    for row in await session.execute(_WAITING, {"subjects": subjects, "name": CONSENT_WITHDRAWN}):
        told = consent_of_event(row.name, row.properties)
        if told is not None:
            said[row.user_id].append(told)
    return said


async def _taken_back(session: WriteSession, stated: Mapping[UUID, Statement]) -> set[UUID]:
    key = await secret(session, PSEUDONYMS) if stated else b""
    hashes = {id_: _hash(key, statement) for id_, statement in stated.items()}
    withdrawn: dict[Any, list[_Said]] = defaultdict(list)
    if hashes:
        for row in await session.execute(_ADDRESSES, {"addresses": sorted(set(hashes.values()))}):
            withdrawn[row.address_hash].append((row.purpose, row.channel, ConsentState.UNSUBSCRIBED))
    return {id_ for id_, statement in stated.items() if _is_void(statement, withdrawn[hashes[id_]])}


def _hash(key: bytes, statement: Statement) -> bytes:
    return address_pseudonym(key, addressed_channel(statement.channel), statement.address or "")
