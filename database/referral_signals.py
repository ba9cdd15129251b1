"""Signals of claims, kept as keyed hashes: enough to see that two claims share a device, and nothing else."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, LargeBinary, PrimaryKeyConstraint, func, insert, select, true
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Table
from database.events import Event
from database.referrals import Referral, people
from database.secrets import PSEUDONYMS, secret
from database.session import ReadSession, WriteSession
from database.vouching import is_vouched
from domain.client_addresses import is_network
from domain.pseudonyms import pseudonym
from domain.referral_signals import (
    NETWORK_WINDOW,
    SHARED,
    Evidence,
    SignalKind,
    Suspicion,
    is_similar_email,
    network_of,
    normal_ip,
)
from domain.referrals import Person

_EVENTS_LOOKED_AT = 200
_FRIENDS_LOOKED_AT = 100

Signals = Mapping[SignalKind, str]
"""What the shop says about whoever claims."""


class ReferralSignal(Table):
    """One signal of one claim; `hash` is keyed by the deployment's own secret."""

    __tablename__ = "referral_signals"

    referral_id: Mapped[UUID] = mapped_column(ForeignKey("referrals.id"))
    kind: Mapped[str]  # domain.referral_signals.SignalKind
    hash: Mapped[bytes] = mapped_column(LargeBinary)
    at: Mapped[datetime]

    __table_args__ = (
        PrimaryKeyConstraint("referral_id", "kind"),
        Index("ix_referral_signals_hash", "hash", "kind", "at"),
    )


async def add_signals(session: WriteSession, referral_id: UUID, signals: Signals, at: datetime) -> None:
    """Keep the signals of a claim."""
    hashes = await _hashed(session, signals)
    rows = [{"referral_id": referral_id, "kind": kind, "hash": hash_, "at": at} for kind, hash_ in hashes.items()]
    if rows:
        await session.execute(insert(ReferralSignal), rows)


async def evidence_for(
    session: WriteSession, referrer: Person, referee: Person, signals: Signals, as_of: datetime
) -> Evidence:
    """What speaks against a claim: what it shares with the referrer and with other claims. What browsers said of the
    referrer counts as doubted, and only of kinds of which no trusted source said anything.
    """
    theirs = await seen_signals(session, referrer.customer_id, trusted=True)
    browsers = await seen_signals(session, referrer.customer_id, trusted=False)
    named = {kind: values for kind, values in browsers.items() if kind not in theirs}
    hashes = await _hashed(session, signals)
    signals = _plain(signals)
    used = await session.execute(
        select(ReferralSignal.kind, func.count(), func.count().filter(ReferralSignal.at > as_of - NETWORK_WINDOW))
        .where(ReferralSignal.hash.in_(hashes.values()))
        .group_by(ReferralSignal.kind)
    )
    claims = {SignalKind(kind): (ever, lately) for kind, ever, lately in used}
    others = [referrer, *await _friends(session, referrer.customer_id, leaving_out=referee.customer_id)]
    doubted = {SHARED[kind] for kind in _shared(signals, named) if kind in SHARED}
    if is_similar_email(referee.email, [each.email for each in others]):
        doubted.add(Suspicion.SIMILAR_EMAIL)
    if referrer.may_be(referee):
        doubted.add(Suspicion.SAME_CONTACT)
    return Evidence(
        shared_with_referrer=_shared(signals, theirs),
        used_by_other_friends=frozenset(claims),
        network_claims=claims.get(SignalKind.NETWORK, (0, 0))[1],
        has_similar_email=is_similar_email(referee.trusted_email, [each.trusted_email for each in others]),
        doubted=frozenset(doubted),
    )


def _shared(signals: Signals, seen: Mapping[SignalKind, Collection[str]]) -> frozenset[SignalKind]:
    return frozenset(kind for kind, value in signals.items() if value in seen.get(kind, ()))


async def _hashed(session: WriteSession, signals: Signals) -> dict[SignalKind, bytes]:
    """The signals and the network of the address, as hashes."""
    network = network_of(signals.get(SignalKind.IP, ""))
    known = _plain(signals) | ({SignalKind.NETWORK: network} if network else {})
    key = await secret(session, PSEUDONYMS)
    return {kind: pseudonym(key, f"referral/{kind}", value) for kind, value in known.items()}


def _plain(signals: Signals) -> dict[SignalKind, str]:
    """With the address in the form that it is compared in; one that was truncated tells of a network alone."""
    plain = {kind: normal_ip(value) if kind is SignalKind.IP else value for kind, value in signals.items()}
    return {kind: value for kind, value in plain.items() if kind is not SignalKind.IP or not is_network(value)}


async def seen_signals(
    session: ReadSession, customer_id: UUID, *, trusted: bool | None = None
) -> dict[SignalKind, set[str]]:
    """What the customer's own latest events tell, all or those that do or do not count for value: addresses, devices,
    what orders say. By ix_events_customer_number.
    """
    wanted = {None: true(), True: is_vouched(Event), False: ~is_vouched(Event)}[trusted]
    latest = (
        select(Event.context, Event.properties)
        .where(Event.customer_id == customer_id, wanted)
        .order_by(Event.number.desc())
        .limit(_EVENTS_LOOKED_AT)
    )
    found: dict[SignalKind, set[str]] = {}
    for context, properties in await session.execute(latest):
        device = context.get("device")
        for kind, value in (
            (SignalKind.IP, context.get("ip")),
            (SignalKind.DEVICE, device.get("id") if isinstance(device, dict) else None),
            (SignalKind.ADDRESS, properties.get("address_hash")),
            (SignalKind.PAYMENT, properties.get("payment_fingerprint")),
        ):
            if isinstance(value, str) and value:
                found.setdefault(kind, set()).add(normal_ip(value) if kind is SignalKind.IP else value)
    return found


async def _friends(session: ReadSession, referrer_id: UUID, *, leaving_out: UUID) -> list[Person]:
    """The latest friends of a referrer."""
    latest = (
        select(Referral.referee_id)
        .where(Referral.referrer_id == referrer_id, Referral.referee_id != leaving_out)
        .order_by(Referral.id.desc())
        .limit(_FRIENDS_LOOKED_AT)
    )
    ids = {id_ for id_ in (await session.scalars(latest)).all() if id_ is not None}
    return list((await people(session, ids)).values())
