"""The reaction of refunds and cancellations: what orders earned is taken back, by the decision as it was made."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from database import refunds
from database.announcements import Announcement, announce
from database.earnings import Stored
from database.orders import refunds_of
from domain.commerce import MAKES_ORDERS, text_id
from domain.programmes.rules import Clawback
from domain.refunds import ORDER_REVISED, taken_back
from triggers.batch import BatchEvent, Wave
from triggers.paying import Due, pay


async def follow_refunds(wave: Wave) -> None:
    """Take back what refunded and cancelled orders earned; a refund that came first takes back at once.

    What concerns another customer's order is that customer's to hear: their points move under their own lock.
    """
    if wave.programme is None:
        return
    told = {order_id: event for event in wave.events if tells_of_orders(event) and (order_id := _order_of(event))}
    await take_back(wave, told.keys())
    here = {customer.id for customer in wave.customers()}
    owners = await refunds.owners_of_orders(wave.session, wave.programme.key, told.keys())
    revised = [
        _revised(told[order_id], order_id, owner)
        for order_id, owner in sorted(owners)
        if owner not in here and not told[order_id].is_own
    ]
    await announce(wave.session, revised, wave.as_of)


def tells_of_orders(event: BatchEvent) -> bool:
    """Whether an event may change what an order counts for: a shop's word about it, or ours that it was changed."""
    name = event.event.name
    return (name in MAKES_ORDERS and event.event.trusted) or (name == ORDER_REVISED and event.is_own)


def _order_of(event: BatchEvent) -> str | None:
    return text_id(event.event.properties.get("order_id"))


def _revised(event: BatchEvent, order_id: str, owner: UUID) -> Announcement:
    natural = f"order-revised/{event.event.id}/{owner}"
    return Announcement(owner, ORDER_REVISED, natural, {"order_id": order_id, "by": event.event.name})


async def take_back(wave: Wave, order_ids: Collection[str]) -> None:
    """Work out what all refunds of these orders take back together, and move the difference.

    Only where customers of the wave earned by them: those are locked.
    """
    if wave.programme is None or not order_ids:
        return
    here = {customer.id for customer in wave.customers()}
    found = await refunds.decisions_about(wave.session, wave.programme.key, order_ids)
    rows = [row for row in found if row.customer_id in here]
    if not rows:
        return
    ids = {row.order_id for row in rows if row.order_id is not None}
    given_back = await refunds_of(wave.session, ids)
    cancelled = await refunds.cancelled_orders(wave.session, ids)
    dues: list[Due] = []
    for row in rows:
        order_id = row.order_id or ""
        target = taken_back(row.frozen, given_back[order_id], is_cancelled=order_id in cancelled)
        policy = _policy(wave, row)
        if policy == "keep":
            target = 0
        if target != row.taken_back:
            dues.append(Due.returned(row, target, may_owe=policy == "deficit"))
    await pay(wave.session, wave.programme.key, dues, wave.as_of)


def _policy(wave: Wave, row: Stored) -> Clawback:
    """What refunds may take back, by the version that decided."""
    programme = next((each for each in wave.programmes if each.version == row.version), wave.programme)
    rule = programme.definition.rule(row.rule) if programme else None
    default = programme.definition.clawback if programme else "deficit"
    return (rule and rule.clawback) or default
