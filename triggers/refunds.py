"""The reaction of refunds and cancellations: what orders earned is taken back, by the decision as it was made, and
points that paid for them come back.

What somebody else says of a customer's order comes to that customer as `Order Revised`, on which points, tiers,
referrals and challenges look at the order as it stands.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from database import refunds, spent_points
from database.announcements import Announcement, announce
from database.earnings import Stored
from database.programmes import LiveProgramme, latest_version, versions_of
from database.refunds import Owner
from database.returns import returns_of
from domain.commerce import MAKES_ORDERS, text_id
from domain.lateness import returned_at
from domain.programmes.rules import Clawback
from domain.refunds import ORDER_REVISED
from triggers.batch import BatchEvent, Wave
from triggers.paying import Due, pay

Versions = Mapping[tuple[str, int], LiveProgramme]


async def follow_refunds(wave: Wave) -> None:
    """Take back what refunded and cancelled orders earned; a refund that came first takes back at once.

    What concerns another customer's order is that customer's to hear: what is theirs moves under their own lock.
    """
    told: dict[str, list[BatchEvent]] = {}
    for event in wave.events:
        if tells_of_orders(event) and (order_id := order_told_by(event)):
            told.setdefault(order_id, []).append(event)
    await take_back(wave, told.keys())
    # Without a programme and challenges there is nobody to tell but who has points by the order, or a referral.
    only_paid = wave.programme is None and not wave.published.challenges
    owners = await refunds.owners_of_orders(wave.session, told.keys(), paid=only_paid)
    await _give_back_spent(wave, owners)
    revised = [revision_of(told[owner.order_id], owner.order_id, owner.customer_id) for owner in owners]
    await announce(wave.session, [each for each in revised if each is not None], wave.as_of)


async def _give_back_spent(wave: Wave, owners: Sequence[Owner]) -> None:
    """Give back points that paid for these orders, to customers of the wave: those are locked."""
    here = {customer.id for customer in wave.customers()}
    spenders = [owner for owner in owners if owner.spent_in and owner.customer_id in here]
    orders, accounts = {each.order_id for each in spenders}, {each.customer_id for each in spenders}
    for key in sorted({key for each in spenders for key in each.spent_in}):
        is_live = wave.programme is not None and wave.programme.key == key
        programme = wave.programme if is_live else await latest_version(wave.session, key)
        until = programme.restored_until(wave.as_of) if programme is not None else None
        await spent_points.give_back(wave.session, key, orders, accounts, wave.as_of, until=until)


def tells_of_orders(event: BatchEvent) -> bool:
    """Whether an event may change what an order counts for: a shop's word about it, or ours that it was changed."""
    return (event.event.name in MAKES_ORDERS and event.event.trusted) or is_revision(event)


def is_revision(event: BatchEvent) -> bool:
    """Whether it is our own word that somebody else's event changed an order of this customer."""
    return event.event.name == ORDER_REVISED and event.is_own


def order_told_by(event: BatchEvent) -> str | None:
    """The shop's id of the order that an event names."""
    return text_id(event.event.properties.get("order_id"))


def revision_of(events: Sequence[BatchEvent], order_id: str, owner: UUID) -> Announcement | None:
    """What the owner is to hear, if anybody else told of the order; however many ask for it, it is told once."""
    others = [event for event in events if event.customer.id != owner and not event.is_own]
    if not others:
        return None
    event = others[-1]
    natural = f"order-revised/{event.event.id}/{owner}"
    at = min(returned_at(each.event.timestamp, each.event.received_at, is_history=False) for each in others)
    properties = {"order_id": order_id, "by": event.event.name, "at": at.isoformat()}
    return Announcement(owner, ORDER_REVISED, natural, properties)


def revised_at(event: BatchEvent) -> datetime:
    """When what a revision is about counts; earlier releases did not say."""
    at = event.event.properties.get("at")
    return datetime.fromisoformat(at) if isinstance(at, str) else event.event.timestamp


async def take_back(wave: Wave, order_ids: Collection[str]) -> None:
    """Work out what all refunds of these orders take back together, and move the difference.

    Only where customers of the wave earned by them: those are locked. What a customer says of an order of their own
    that has the same id takes nothing of anybody else. What another programme paid, or one that is archived, is taken
    back there.
    """
    if not order_ids:
        return
    here = {customer.id for customer in wave.customers()}
    rows = [row for row in await refunds.decisions_about(wave.session, order_ids) if row.customer_id in here]
    if not rows:
        return
    versions = {(each.key, each.version): each for each in wave.programmes}
    decided = {(row.programme, row.version) for row in rows}
    versions |= await versions_of(wave.session, decided - versions.keys())
    for programme in sorted({row.programme for row in rows}):
        paid = [row for row in rows if row.programme == programme]
        await _take_back_in(wave, programme, paid, versions)


async def _take_back_in(wave: Wave, programme: str, rows: Sequence[Stored], versions: Versions) -> None:
    returns = await returns_of(wave.session, {row.order_id for row in rows if row.order_id is not None}, programme)
    dues: list[Due] = []
    for row in rows:
        policy = _policy(versions.get((programme, row.version)), row)
        target = 0 if policy == "keep" else returns.taken(row.frozen, row.order_id or "", row.customer_id)
        if target != row.taken_back:
            dues.append(Due.returned(row, target, may_owe=policy == "deficit"))
    await pay(wave.session, programme, dues, wave.as_of)


def _policy(programme: LiveProgramme | None, row: Stored) -> Clawback:
    """What refunds may take back, by the version that decided."""
    rule = programme.definition.rule(row.rule) if programme else None
    default = programme.definition.clawback if programme else "deficit"
    return (rule and rule.clawback) or default
