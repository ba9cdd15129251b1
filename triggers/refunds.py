"""The reaction of refunds and cancellations: what orders earned is taken back, by the decision as it was made."""

from __future__ import annotations

from collections.abc import Collection

from database import earnings
from database.earnings import Stored
from database.orders import refunds_of
from domain.commerce import MAKES_ORDERS, text_id
from domain.programmes.rules import Clawback
from domain.refunds import taken_back
from triggers.batch import Wave
from triggers.paying import Due, pay


async def follow_refunds(wave: Wave) -> None:
    """Take back what refunded and cancelled orders earned; a refund that came first takes back at once."""
    told = (event.event for event in wave.events if event.event.trusted and event.event.name in MAKES_ORDERS)
    ids = {order_id for event in told if (order_id := text_id(event.properties.get("order_id")))}
    await take_back(wave, ids)


async def take_back(wave: Wave, order_ids: Collection[str]) -> None:
    """Work out what all refunds of these orders take back together, and move the difference."""
    if wave.programme is None or not order_ids:
        return
    rows = await earnings.of_orders(wave.session, wave.programme.key, order_ids)
    if not rows:
        return
    ids = {row.order_id for row in rows if row.order_id is not None}
    refunds = await refunds_of(wave.session, ids)
    cancelled = await earnings.cancelled_orders(wave.session, ids)
    dues: list[Due] = []
    for row in rows:
        order_id = row.order_id or ""
        target = taken_back(row.frozen, refunds[order_id], is_cancelled=order_id in cancelled)
        policy = _policy(wave, row)
        if policy == "keep":
            target = 0
        if target != row.taken_back:
            net = row.frozen.points - target
            dues.append(Due.again(row, net, target, may_owe=policy == "deficit"))
    await pay(wave.session, wave.programme.key, dues, wave.as_of)


def _policy(wave: Wave, row: Stored) -> Clawback:
    """What refunds may take back, by the version that decided."""
    programme = next((each for each in wave.programmes if each.version == row.version), wave.programme)
    rule = programme.definition.rule(row.rule) if programme else None
    default = programme.definition.clawback if programme else "deficit"
    return (rule and rule.clawback) or default
