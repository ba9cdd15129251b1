"""Settling consents: which address each belongs to, which grants followed to a new one, and which count at present.

All of it is computed anew from what is stored, so it is the same for any order in which things came in. Asked for in
waves that record consent, change an address or join customers, by our own pages, and once for records of old releases.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Select, delete, select, text
from sqlalchemy.dialects.postgresql import insert

from database.consent import Consent, has_answered
from database.customers import Customer
from database.secrets import PSEUDONYMS, known_secret, secret
from database.session import ReadSession, WriteSession
from domain.addresses import TRAIT_OF_CHANNEL, address_of, is_trusted_address
from domain.consent import (
    Addressee,
    ConsentSource,
    ConsentState,
    StandingConsent,
    address_of_event,
    addressed_channel,
    is_statement,
)
from domain.consent_addresses import Addressed, Fact, Joined, Move, Named, Said, address_consents, idle
from domain.ids import new_id
from domain.pseudonyms import address_pseudonym

# Every record with the user id that its event named; of withdrawals by browsers, and of grants for a strange address,
# which may have lost theirs, what those said. By ix_consents_customer and pk_events.
_RECORDS = text("""
    SELECT consents.*, events.user_id, coalesce(events.trusted, true) AS trusted,
        CASE WHEN consents.state = 'unsubscribed' AND NOT events.trusted
            OR consents.state = 'subscribed' AND address_given AND address_hash IS NULL
            THEN events.properties END AS told
    FROM consents LEFT JOIN events ON events.id = consents.event_id
    WHERE consents.customer_id = ANY(CAST(:customers AS uuid[]))
""")

# What events say about addresses and who is who; of those that repeat the one before only the first. By
# ix_events_customer_name.
_STATEMENTS = text("""
    SELECT customer_id, kind, user_id, previous_id, timestamp, sent, id, trusted, told FROM (
        SELECT *, jsonb_build_array(kind, user_id, previous_id, trusted, told) IS DISTINCT FROM
            lag(jsonb_build_array(kind, user_id, previous_id, trusted, told))
            OVER (PARTITION BY customer_id ORDER BY timestamp, sent, id) AS is_news
        FROM (
            SELECT customer_id, kind, user_id, previous_id, timestamp, sent, id, trusted, (
                SELECT jsonb_object_agg(key, value) FROM jsonb_each(traits) WHERE key = ANY(:traits)
            ) AS told
            FROM events
            WHERE customer_id = ANY(CAST(:customers AS uuid[])) AND name IN ('Identified', 'Aliased')
                AND (kind = 'alias' AND trusted OR kind = 'identify' AND traits ?| CAST(:traits AS text[]))
        ) AS statements
    ) AS news
    WHERE is_news
""")

_OTHERS = text("""
    SELECT customer_id, purpose, channel, state, at, source, sent, event_id, address_hash, evidence
    FROM consents WHERE state = 'unsubscribed' AND address_hash = ANY(:addresses)
""")

_WRITE = text("""
    UPDATE consents SET
        address_hash = decode(r.address, 'hex'), address_given = coalesce(consents.address_given, false),
        counts = r.counts
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (id uuid, address text, counts boolean)
    WHERE consents.id = r.id
""")


@dataclass(frozen=True, slots=True)
class _Ground:
    """What is stored about one customer. `key`: of the hashes."""

    key: bytes
    present: Mapping[str, bytes | None]
    trusted: Mapping[str, bytes]
    records: Sequence[Any]  # rows of _RECORDS
    facts: Sequence[Fact]
    others: Sequence[StandingConsent]


async def settle_consents(session: WriteSession, customer_ids: Collection[UUID]) -> set[UUID]:
    """Settle all records of these customers, whom the caller has locked.

    Answers which events named an address that is not theirs, and of which they took nothing back.
    """
    rows = await _records(session, customer_ids)
    strange: set[UUID] = set()
    if rows:
        grounds = await _grounds(session, sorted({row.customer_id for row in rows}), rows)
        folds = [(ground, _fold(ground)) for ground in grounds]
        await _write(session, [change for ground, fold in folds for change in _changes(ground, fold)])
        strange = {id_ for _, fold in folds for id_ in fold.strange}
    return {row.event_id for row in rows if row.id in strange}


async def follow_addresses(session: WriteSession, customer_ids: Collection[UUID]) -> None:
    """Say anew which records count, for customers whose address an untrusted source has changed: nothing moves, so what
    was said before is not read again, however often somebody changes it."""
    rows = await _records(session, customer_ids)
    older = {row.customer_id for row in rows if row.address_given is None}
    await settle_consents(session, older)
    known = [row for row in rows if row.customer_id not in older]
    if not known:
        return
    key = await secret(session, PSEUDONYMS)
    records = _by_customer(known)
    changes = []
    for profile in await session.execute(_profiles(records)):
        changes += _shown(records[profile.id], _present(key, profile))
    await _write(session, changes)


async def _records(session: ReadSession, customer_ids: Collection[UUID]) -> Sequence[Any]:
    asked = {"customers": sorted(customer_ids)}
    return (await session.execute(_RECORDS, asked)).all() if customer_ids else []


def _profiles(ids: Iterable[UUID]) -> Select[UUID, dict[str, Any], dict[str, Any]]:
    return select(Customer.id, Customer.traits, Customer.trait_times).where(Customer.id.in_(list(ids)))


def _present(key: bytes, profile: Any) -> dict[str, bytes | None]:  # a row of _profiles
    return {channel: _hash(key, channel, address_of(profile.traits, channel)) for channel in TRAIT_OF_CHANNEL}


def _shown(rows: Sequence[Any], present: Mapping[str, bytes | None]) -> list[_Change]:
    """The records whose address stays, where they begin or cease to count."""
    quiet = idle([(row.id, _standing(row)) for row in rows], present)
    settled = (_Change(row, row.address_hash, row.id not in quiet) for row in rows)
    return [change for change in settled if _differs(change)]


async def settle_some(session: WriteSession, limit: int) -> int:
    """Settle records that nobody has looked at, of customers whom nobody else holds. Answers of how many customers."""
    waiting = select(Consent.customer_id).where(Consent.address_given.is_(None)).limit(limit)
    whose = select(Customer.id).where(Customer.id.in_(waiting)).order_by(Customer.id).with_for_update(skip_locked=True)
    ids = (await session.scalars(whose)).all()
    await settle_consents(session, ids)
    return len(ids)


async def _grounds(session: WriteSession, ids: Sequence[UUID], rows: Sequence[Any]) -> list[_Ground]:
    key = await secret(session, PSEUDONYMS)
    records, facts = _by_customer(rows), await _facts(session, ids, key)
    others = await _others(session, _asked(key, records, facts[1]))
    grounds = []
    for profile in await session.execute(_profiles(ids)):
        present = _present(key, profile)
        trusted = {
            channel: address
            for channel, address in present.items()
            if address is not None and is_trusted_address(profile.traits, profile.trait_times, channel)
        }
        whose = profile.id
        grounds.append(_Ground(key, present, trusted, records[whose], facts[0][whose], others[whose]))
    return grounds


def _by_customer(rows: Iterable[Any]) -> dict[UUID, list[Any]]:
    found: dict[UUID, list[Any]] = defaultdict(list)
    for row in rows:
        found[row.customer_id].append(row)
    return found


async def _facts(
    session: ReadSession, ids: Sequence[UUID], key: bytes
) -> tuple[dict[UUID, list[Fact]], dict[UUID, list[Named]]]:
    """What events say of each customer, and the addresses apart."""
    facts: dict[UUID, list[Fact]] = defaultdict(list)
    names: dict[UUID, list[Named]] = defaultdict(list)
    asked = {"customers": ids, "traits": list(TRAIT_OF_CHANNEL.values())}
    for row in await session.execute(_STATEMENTS, asked):
        order = (row.timestamp, row.sent, row.id)
        if row.kind == "alias":
            facts[row.customer_id].append(Joined(order, row.user_id, row.previous_id))
            continue
        for channel, trait in TRAIT_OF_CHANNEL.items():
            if trait in row.told:
                named = Named(
                    order, row.user_id, channel, _hash(key, channel, address_of(row.told, channel)), row.trusted
                )
                names[row.customer_id].append(named)
    for id_, named_of in names.items():
        facts[id_].extend(named_of)
    return facts, names


def _asked(
    key: bytes, records: Mapping[UUID, Sequence[Any]], names: Mapping[UUID, Sequence[Named]]
) -> dict[UUID, set[bytes]]:
    """The addresses of customers who have had several, or who gave consent for one that was never theirs."""
    asked: dict[UUID, set[bytes]] = {}
    for id_, rows in records.items():
        named = {each.address for each in names.get(id_, ()) if each.address}
        said = (_said(key, row) for row in rows if row.state == ConsentState.SUBSCRIBED)
        given = {each.consent.address for each in said if each.is_given and each.consent.address}
        if len(named) > 1 or given - named:
            asked[id_] = named | given
    return asked


async def _others(
    session: ReadSession, addresses: Mapping[UUID, Collection[bytes]]
) -> dict[UUID, list[StandingConsent]]:
    """What other people withdrew for these addresses of customers."""
    found: dict[UUID, list[StandingConsent]] = defaultdict(list)
    if not addresses:
        return found
    for row in await session.execute(_OTHERS, {"addresses": sorted(set().union(*addresses.values()))}):
        for id_, had in addresses.items():
            if row.address_hash in had and row.customer_id != id_:
                found[id_].append(_standing(row))
    return found


def _standing(row: Any) -> StandingConsent:  # a row of _RECORDS or _OTHERS
    order = (row.at, row.sent, row.event_id)
    stated = is_statement(row.source, row.state, row.evidence)
    said = (row.purpose, row.channel, row.state, row.at, row.source, order)
    return StandingConsent(*said, row.address_hash, is_statement=stated)


def _hash(key: bytes, channel: str, address: str | None) -> bytes | None:
    return None if address is None else address_pseudonym(key, channel, address)


@dataclass(frozen=True, slots=True)
class _Change:
    """A record as it should be; `row` None: a copy that is missing, `is_gone`: a copy without its reason."""

    row: Any
    address: bytes | None
    counts: bool
    is_new: bool = False
    is_gone: bool = False
    moved: Move | None = None


def _fold(ground: _Ground) -> Addressed:
    said = [_said(ground.key, row) for row in ground.records if row.source != ConsentSource.MOVED]
    return address_consents([*ground.facts, *said], ground.others, ground.trusted)


def _said(key: bytes, row: Any) -> Said:  # a row of _RECORDS
    """What was recorded. What may have lost its address names it in its event."""
    consent = _standing(row)
    if row.told is not None:
        named = address_of_event(row.channel, row.told)
        consent = replace(consent, address=_hash(key, addressed_channel(row.channel), named))
        return Said(row.id, row.user_id, consent, is_given=named is not None, trusted=row.trusted)
    return Said(row.id, row.user_id, consent, bool(row.address_given), row.trusted)


def _changes(ground: _Ground, done: Addressed) -> list[_Change]:
    own = [row for row in ground.records if row.source != ConsentSource.MOVED]
    origin = {row.id: row for row in own}
    copies = {
        (row.event_id, row.purpose, row.channel, row.address_hash): row
        for row in ground.records
        if row.source == ConsentSource.MOVED
    }
    changes: list[tuple[_Change, UUID]] = [(_Change(row, done.addresses[row.id], counts=True), row.id) for row in own]
    for move in done.moves:
        grant = origin[move.grant]
        copy = copies.pop((grant.event_id, grant.purpose, grant.channel, move.address), None)
        change = _Change(copy or grant, move.address, counts=True, is_new=copy is None, moved=move)
        changes.append((change, new_id() if copy is None else copy.id))
    gone = [_Change(row, row.address_hash, counts=False, is_gone=True) for row in copies.values()]
    standing = [(id_, _at(change)) for change, id_ in changes]
    quiet = idle(standing, ground.present)
    settled = [
        _Change(change.row, change.address, id_ not in quiet, change.is_new, moved=change.moved)
        for change, id_ in changes
    ]
    return [*(each for each in settled if _differs(each)), *gone]


def _at(change: _Change) -> StandingConsent:
    return replace(_standing(change.row), address=change.address)


def _differs(change: _Change) -> bool:
    row = change.row
    is_same = (row.address_hash, row.counts, row.address_given is None) == (change.address, change.counts, False)
    return change.is_new or not is_same


async def _write(session: WriteSession, changes: Sequence[_Change]) -> None:
    """Copies keep their grant's event and place in time; their evidence says what moved them."""
    rows = [
        {"id": each.row.id, "address": each.address and each.address.hex(), "counts": each.counts}
        for each in changes
        if not (each.is_new or each.is_gone)
    ]
    if rows:
        await session.execute(_WRITE, {"rows": orjson.dumps(rows).decode()})
    gone = [each.row.id for each in changes if each.is_gone]
    if gone:
        await session.execute(delete(Consent).where(Consent.id.in_(gone)))
    new = [_copy(each) for each in changes if each.is_new and each.moved is not None]
    if new:
        await session.execute(insert(Consent).on_conflict_do_nothing(), new)


def _copy(change: _Change) -> dict[str, Any]:
    grant, move = change.row, change.moved
    evidence = {**grant.evidence, "granted": grant.source}
    if move is not None:
        evidence |= {"moved_at": move.order[0].isoformat(), "moved_by": str(move.order[2])}
    return {
        **{name: getattr(grant, name) for name in ("customer_id", "purpose", "channel", "at", "sent", "event_id")},
        "id": new_id(),
        "state": ConsentState.SUBSCRIBED,
        "source": ConsentSource.MOVED,
        "evidence": evidence,
        "address_hash": change.address,
        "address_given": True,
        "counts": change.counts,
    }


async def addressee(session: ReadSession, customer: Customer, channel: str, address: str | None) -> Addressee:
    """Whom a message to this address reaches, as far as consent asks."""
    if channel not in TRAIT_OF_CHANNEL or not address:
        return Addressee(None, is_confirmed=channel not in TRAIT_OF_CHANNEL)
    key = await known_secret(session, PSEUDONYMS)
    if key is None:  # so nobody has consented to anything, or answered
        return Addressee(address.encode(), is_confirmed=False)
    found = address_pseudonym(key, channel, address)
    is_present = found == _hash(key, channel, address_of(customer.traits, channel))
    is_confirmed = is_present and is_trusted_address(customer.traits, customer.trait_times, channel)
    return Addressee(found, is_confirmed or await has_answered(session, customer.id, channel, found))
