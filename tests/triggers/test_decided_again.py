"""Decisions that are made again come to what they would have been on time, in whatever order events arrive (G31)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from fractions import Fraction
from itertools import permutations
from math import floor
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from database.earnings import Earning
from database.orders import Order
from database.points import balances
from database.programmes import live_versions
from database.tiers import TierMembership
from domain.events import NewEvent
from tests.triggers.earning import ORDER, PURCHASE, balance, bought, decided, open_programme, refunded
from tests.triggers.shop import NOON, Shop

AT_500 = {
    "measure": {"points": "earned", "window": {"rolling": "12mo"}},
    "levels": [{"tier": "basic", "from": 0}, {"tier": "gold", "from": 500}],
}
BY_SPEND = {**AT_500, "measure": {"spend": "subtotal", "window": {"rolling": "12mo"}}}
BY_SPEND["levels"] = [{"tier": "basic", "from": 0}, {"tier": "gold", "from": 50_000}]
DOUBLED = {**PURCHASE, "multiply": [{"if": {"tier": {"at_least": "gold"}}, "by": 2}]}
SEVEN = {"rule": "seven", "on": {"event": ORDER}, "if": {"tier": "gold"}, "amount": {"points": 7}}
THREE = list(permutations(range(3)))


async def take_in(shop: Shop, events: Sequence[NewEvent], at_once: int = 1) -> None:
    for start in range(0, len(events), at_once):
        await shop.post(*events[start : start + at_once])
        assert (await shop.route()).failed == 0


async def paid(shop: Shop) -> dict[tuple[str, str], int]:
    return {(each.rule, each.occasion): each.points for each in await decided(shop) if each.points}


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize("order", THREE, ids=lambda each: "".join(map(str, each)))
async def test_an_order_that_reaches_gold_lifts_those_after_it_whichever_comes_first(
    shop: Shop, order: Sequence[int], at_once: int
) -> None:
    await open_programme(shop, DOUBLED, SEVEN, tiers=AT_500)
    shop.later(hours=3)
    events = [
        bought(shop, "a", 600, timestamp=NOON),
        bought(shop, "b", 100, timestamp=NOON + minutes(60)),
        bought(shop, "c", 100, timestamp=NOON + minutes(120)),
    ]
    await take_in(shop, [events[place] for place in order], at_once)
    assert (await balance(shop)).available == 1_014
    assert await paid(shop) == {
        ("purchase", "a"): 600,
        ("purchase", "b"): 200,
        ("seven", "b"): 7,
        ("purchase", "c"): 200,
        ("seven", "c"): 7,
    }


@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize("tiers", [AT_500, BY_SPEND], ids=["by points", "by spend"])
@pytest.mark.parametrize("order", THREE, ids=lambda each: "".join(map(str, each)))
async def test_what_was_returned_before_an_order_lifts_it_no_more_however_late_all_arrive(
    shop: Shop, order: Sequence[int], tiers: dict[str, Any], at_once: int
) -> None:
    """600, all returned, then 100: on time and 20 seconds late the 100 earn 100."""
    await open_programme(shop, DOUBLED, tiers=tiers)
    shop.later(minutes=2, seconds=20)
    events = [
        bought(shop, "a", 600, timestamp=NOON),
        refunded(shop, "a", 600, NOON + minutes(1)),
        bought(shop, "b", 100, timestamp=NOON + minutes(2)),
    ]
    await take_in(shop, [events[place] for place in order], at_once)
    assert await paid(shop) == {("purchase", "a"): 600, ("purchase", "b"): 100}
    assert (await balance(shop)).available == 100


@pytest.mark.parametrize("order", THREE, ids=lambda each: "".join(map(str, each)))
async def test_what_was_returned_after_an_order_leaves_it_what_it_earned(shop: Shop, order: Sequence[int]) -> None:
    await open_programme(shop, DOUBLED, tiers=AT_500)
    shop.later(hours=1)
    events = [
        bought(shop, "a", 600, timestamp=NOON),
        bought(shop, "b", 100, timestamp=NOON + minutes(1)),
        refunded(shop, "a", 600, NOON + minutes(2)),
    ]
    await take_in(shop, [events[place] for place in order])
    assert await paid(shop) == {("purchase", "a"): 600, ("purchase", "b"): 200}


@pytest.mark.parametrize("order", THREE, ids=lambda each: "".join(map(str, each)))
async def test_a_cancellation_counts_when_it_happened_too(shop: Shop, order: Sequence[int]) -> None:
    await open_programme(shop, DOUBLED, tiers=AT_500)
    shop.later(hours=1)
    events = [
        bought(shop, "a", 600, timestamp=NOON),
        bought(shop, "a", 600, name="Order Cancelled", timestamp=NOON + minutes(1)),
        bought(shop, "b", 100, timestamp=NOON + minutes(2)),
    ]
    await take_in(shop, [events[place] for place in order])
    assert (await balance(shop)).available == 100


@pytest.mark.parametrize("order", THREE, ids=lambda each: "".join(map(str, each)))
async def test_a_refund_that_is_dated_before_its_order_counts_with_it(shop: Shop, order: Sequence[int]) -> None:
    await open_programme(shop, DOUBLED, tiers=AT_500)
    shop.later(hours=1)
    events = [
        refunded(shop, "a", 600, NOON - minutes(1)),
        bought(shop, "a", 600, timestamp=NOON),
        bought(shop, "b", 100, timestamp=NOON + minutes(2)),
    ]
    await take_in(shop, [events[place] for place in order])
    assert (await balance(shop)).available == 100


async def test_a_refund_that_somebody_else_tells_late_counts_when_it_happened(shop: Shop) -> None:
    await open_programme(shop, DOUBLED, tiers=AT_500)
    shop.later(hours=1)
    orders = [bought(shop, "a", 600, timestamp=NOON), bought(shop, "b", 100, timestamp=NOON + minutes(2))]
    await take_in(shop, [*orders, refunded(shop, "a", 600, NOON + minutes(1), user_id="till")])
    assert (await balance(shop)).available == 100


@pytest.mark.parametrize("tiers", [AT_500, BY_SPEND], ids=["by points", "by spend"])
async def test_a_refund_that_comes_more_than_a_day_late_counts_from_its_receipt(
    shop: Shop, tiers: dict[str, Any]
) -> None:
    await open_programme(shop, DOUBLED, tiers=tiers)
    await take_in(shop, [bought(shop, "a", 600)])
    shop.later(minutes=2)
    await take_in(shop, [bought(shop, "b", 100)])
    shop.later(hours=24, minutes=1)
    await take_in(shop, [refunded(shop, "a", 600, NOON + minutes(1))])
    assert await paid(shop) == {("purchase", "a"): 600, ("purchase", "b"): 200}
    lost = (await tiers_of_u1(shop))[-1]
    assert (lost.tier, lost.from_at) == ("basic", shop.now)


async def tiers_of_u1(shop: Shop) -> Sequence[TierMembership]:
    customer = await shop.customer()
    statement = select(TierMembership).where(TierMembership.customer_id == customer.id)
    async with shop.database.read() as session:
        return (await session.execute(statement.order_by(TierMembership.from_at))).scalars().all()


async def test_what_a_stranger_gives_back_under_the_same_number_takes_no_tier(shop: Shop) -> None:
    await open_programme(shop, DOUBLED, tiers=AT_500)
    await take_in(shop, [bought(shop, "1001", 600), bought(shop, "1001", 50, user_id="u-2")])
    shop.later(minutes=1)
    await take_in(shop, [refunded(shop, "1001", 600, user_id="u-2")])
    shop.later(minutes=1)
    await take_in(shop, [bought(shop, "b", 100)])
    assert (await balance(shop)).available == 800


async def test_points_that_customers_keep_hold_the_tier_that_they_reached(shop: Shop) -> None:
    await open_programme(shop, {**DOUBLED, "clawback": "keep"}, tiers=AT_500)
    shop.later(hours=1)
    events = [
        bought(shop, "b", 100, timestamp=NOON + minutes(2)),
        bought(shop, "a", 600, timestamp=NOON),
        refunded(shop, "a", 600, NOON + minutes(1)),
    ]
    await take_in(shop, events)
    assert (await balance(shop)).available == 800


async def test_a_refund_that_is_corrected_later_never_lifts_a_tier_above_what_was_paid(shop: Shop) -> None:
    """All of 400 come back, then the shop says it was 100 of them: gold at 500 was never reached."""
    await open_programme(shop, tiers=AT_500)
    shop.later(hours=1)
    named = {"properties": {"refund_id": "r-1"}}
    events = [
        bought(shop, "a", 400, timestamp=NOON),
        refunded(shop, "a", 400, NOON + minutes(1), **named),
        refunded(shop, "a", 100, NOON + minutes(2), properties={"refund_id": "r-1"}),
    ]
    await take_in(shop, events)
    assert (await balance(shop)).available == 300
    assert not await tiers_of_u1(shop)


# Any order -------------------------------------------------------------------------------------------------

RULES: tuple[dict[str, Any], ...] = (
    {**DOUBLED, "limit": {"per_customer": 1_500, "per": "1mo"}},
    {**SEVEN, "multiply": [{"if": {"points": "earned", "gte": 600}, "by": 3}]},
    {"rule": "first", "on": {"event": ORDER}, "amount": {"points": 11}, "if": {"did": ORDER, "at_most": 1}},
)
SUBTOTALS = (100, 400, 450, 600)
acts = st.tuples(
    st.sampled_from(["bought", "bought", "bought", "edited", "edited", "returned", "returned", "cancelled"]),
    st.integers(0, len(SUBTOTALS) - 1),
    st.integers(0, 1_000),
)
days = st.lists(acts, min_size=3, max_size=9, unique_by=lambda act: act[2])


def told(shop: Shop, example: str, member: str, act: tuple[str, int, int]) -> NewEvent:
    what, number, minute = act
    order, subtotal, at = f"{example}-{number}", SUBTOTALS[number], shop.now - timedelta(hours=20) + minutes(minute)
    about: dict[str, Any] = {"user_id": member, "timestamp": at, "properties": {"total": subtotal}}
    match what:
        case "bought":
            return bought(shop, order, subtotal, **about)
        case "edited":
            changed = SUBTOTALS[minute % len(SUBTOTALS)]
            return bought(shop, order, changed, name="Order Updated", **about | {"properties": {"total": changed}})
        case "cancelled":
            return bought(shop, order, subtotal, name="Order Cancelled", **about)
        case _:
            return refunded(shop, order, subtotal / 3, at, user_id=member)


@pytest.mark.parametrize("tiers", [AT_500, BY_SPEND], ids=["by points", "by spend"])
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(day=days, data=st.data())
async def test_orders_edits_returns_and_cancellations_end_the_same_in_every_order_of_arrival(
    shop: Shop, tiers: dict[str, Any], day: list[tuple[str, int, int]], data: st.DataObject
) -> None:
    async with shop.database.read() as session:
        is_open = bool(await live_versions(session))
    if not is_open:  # the shop is the same for all examples
        await open_programme(shop, *RULES, tiers=tiers)
    example = uuid4().hex[:8]
    for side in ("left", "right"):
        member = f"{side}-{example}"
        acts_of = sorted(day, key=lambda act: act[2]) if side == "left" else data.draw(st.permutations(day))
        at_once = 1 if side == "left" else data.draw(st.sampled_from([1, 2, 5]))
        await take_in(shop, [told(shop, member, member, act) for act in acts_of], at_once)
    left, right = [await story(shop, f"{side}-{example}") for side in ("left", "right")]
    assert right == left


async def story(shop: Shop, member: str) -> dict[str, Any]:
    """What was decided about a member, and what is left of it; orders and points must agree."""
    customer = await shop.customer(member)
    async with shop.database.read() as session:
        rows = (await session.execute(select(Earning).where(Earning.customer_id == customer.id))).scalars().all()
        orders = (await session.execute(select(Order).where(Order.customer_id == customer.id))).scalars().all()
        was = (await session.execute(select(TierMembership).where(TierMembership.customer_id == customer.id))).scalars()
        has = (await balances(session, "main", [customer.id], shop.now))[customer.id]
    returned = {order.order_id: Fraction(order.returned) for order in orders}
    for row in rows:
        assert row.taken_back == floor(row.points * returned.get(row.order_id or "", Fraction(0)))
    assert has.available == sum(row.points - row.taken_back for row in rows)
    return {
        "available": has.available,
        "paid": sorted(
            (row.rule, row.occasion.removeprefix(member), row.points, str(row.tier)) for row in rows if row.points
        ),
        "orders": sorted((row.order_id.removeprefix(member), row.state, row.refunded) for row in orders),
        "tiers": sorted((row.from_at, str(row.tier), row.reason) for row in was),
    }
