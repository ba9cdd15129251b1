"""Invariant 11 under races and random histories: nobody brings themselves, no rings, each side is paid once at most."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterable
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from activities.referrals import reward
from database import referrals
from database.session import Database
from domain.errors import Conflict, Unavailable
from domain.events import EventKind
from domain.referrals import UNIQUE, is_circular
from tests.referring import ReferringShop
from triggers.live import LiveCache
from triggers.routing import Routing

REFERRER, REFEREE = 500, 100


@pytest.fixture
async def shop(database: Database) -> ReferringShop:
    """A shop with a live programme."""
    shop = ReferringShop(database)
    await shop.publish_programme()
    return shop


async def outcome(claiming: Any) -> str:
    """What became of a claim."""
    try:
        return "repeated" if (await claiming).repeated else "claimed"
    except (Conflict, Unavailable) as refused:
        return str(refused.code)


async def test_fifty_claims_for_one_friend_at_once_make_one_referral(shop: ReferringShop) -> None:
    """Programme duplicates per user: pdazcom/laravel-referrals 34."""
    referrers = [f"r-{n}" for n in range(10)]
    await shop.sign_up("bob", *referrers)
    claims = [shop.claim(referrer, "bob") for referrer in referrers * 5]

    outcomes = Counter(await asyncio.gather(*(outcome(each) for each in claims)))

    assert outcomes == {"claimed": 1, "repeated": 4, "already_referred": 45}
    assert await shop.states() == ["claimed"]


async def test_claims_that_share_nobody_never_close_a_ring(shop: ReferringShop) -> None:
    """Loop A to B to A, chain farms: no system read for reference/loyalty.md 4.3 checks for them."""
    people = [f"p-{n}" for n in range(8)]
    await shop.sign_up(*people)
    for _ in range(3):
        pairs = [(people[n], people[(n + 1) % 8]) for n in range(8)]
        random.shuffle(pairs)
        await asyncio.gather(*(outcome(shop.claim(one, other)) for one, other in pairs))
        await assert_sound(shop)
    assert len(await shop.referrals()) == 7


async def test_two_routers_count_friends_towards_a_limit_that_holds(shop: ReferringShop) -> None:
    await shop.publish_programme(limit={"per_referrer": 3, "per": "1y"})
    friends = [f"f-{n}" for n in range(12)]
    await shop.sign_up("ann", *friends)
    for friend in friends:
        await shop.claim("ann", friend)
    shop.later(hours=1)
    orders = [
        shop.event("Order Completed", user_id=friend, properties={"order_id": f"o-{friend}", "subtotal": 50})
        for friend in friends
    ]
    await shop.post(*orders)

    await asyncio.gather(*(drain(shop) for _ in range(3)))
    await drain(shop)

    assert Counter(await shop.states()) == {"held": 3, "rejected(limit_reached)": 9}


async def test_ten_ends_of_one_hold_at_once_pay_each_side_once(shop: ReferringShop) -> None:
    await shop.sign_up("ann", "bob")
    await shop.claim("ann", "bob")
    shop.later(hours=1)
    await shop.order("bob")
    shop.later(days=15)
    [row] = await shop.referrals()

    async def end() -> bool | None:
        async with shop.database.transaction() as session:
            return await reward(session, row.id, shop.now)

    paid = await asyncio.gather(*(end() for _ in range(10)))

    assert sorted(map(bool, paid)) == [False] * 9 + [True]
    assert (await shop.points("ann"), await shop.points("bob")) == (REFERRER, REFEREE)


@pytest.mark.parametrize("first", ["reward", "return"])
async def test_a_return_that_races_the_end_of_the_hold_leaves_nobody_with_points(
    shop: ReferringShop, first: str
) -> None:
    pairs = [(f"a-{n}", f"b-{n}") for n in range(6)]
    for referrer, referee in pairs:
        await shop.sign_up(referrer, referee)
        await shop.claim(referrer, referee)
    shop.later(hours=1)
    for _, referee in pairs:
        await shop.order(referee, f"o-{referee}")
    shop.later(days=15)
    returns = [
        shop.event("Order Refunded", user_id=referee, properties={"order_id": f"o-{referee}"}) for _, referee in pairs
    ]
    racing = [shop.end_holds(), shop.post(*returns), drain(shop), drain(shop)]
    await asyncio.gather(*(racing if first == "reward" else racing[1:] + racing[:1]))
    await drain(shop)
    await shop.end_holds()

    assert set(await shop.states()) <= {"claimed", "revoked(refunded)"}
    for pair in pairs:
        assert [await shop.points(user_id) for user_id in pair] == [0, 0]


async def test_without_the_lock_on_claims_a_ring_could_close(
    shop: ReferringShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Holds the test of rings to account: with the lock taken away, two claims at once close one."""
    gate = asyncio.Barrier(2)

    async def no_lock(_: object) -> None:
        await gate.wait()

    await shop.sign_up("a", "b", "c", "d")
    await shop.claim("a", "b")
    await shop.claim("c", "d")
    monkeypatch.setattr(referrals, "lock_claims", no_lock)
    await asyncio.gather(outcome(shop.claim("b", "c")), outcome(shop.claim("d", "a")))
    with pytest.raises(AssertionError, match="ring"):
        await assert_sound(shop)


async def drain(shop: ReferringShop) -> None:
    """One router of its own, as another process would run it, until nothing is pending."""
    routing = Routing(LiveCache())
    for _ in range(200):
        async with shop.database.transaction() as session:
            done = await routing.route(session, shop.now, 40)
        if not done.seen:
            return
        await asyncio.sleep(0)


async def assert_sound(shop: ReferringShop) -> None:
    """Invariant 11, of everything that is stored."""
    rows = [row for row in await shop.referrals() if row.state in UNIQUE and row.referee_id is not None]
    live: dict[UUID, UUID] = {row.referee_id: row.referrer_id for row in rows if row.referee_id is not None}
    assert len(live) == len(rows), "a friend has two referrals"
    assert all(friend != referrer for friend, referrer in live.items()), "somebody has brought themselves"
    assert not any(is_circular(live, friend) for friend in live), "a ring has closed"


PEOPLE = ("ann", "bob", "cid", "dan")
pairs = st.tuples(st.sampled_from(PEOPLE), st.sampled_from(PEOPLE))
acts = st.one_of(
    st.tuples(st.just("claim"), pairs),
    st.tuples(st.just("order"), st.sampled_from(PEOPLE)),
    st.tuples(st.just("return"), st.sampled_from(PEOPLE)),
    st.tuples(st.just("merge"), pairs),
    st.tuples(st.just("wait"), st.sampled_from([1, 8, 15])),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(acts, min_size=3, max_size=14))
async def test_whatever_happens_in_whatever_order_the_rules_hold_and_nobody_is_paid_twice(
    shop: ReferringShop, told: list[tuple[str, Any]]
) -> None:
    example = uuid4().hex[:8]
    names = {name: f"{name}-{example}" for name in PEOPLE}  # people whom no earlier example knows
    await shop.sign_up(*names.values())
    orders: dict[str, str] = {}
    for step, (act, whom) in enumerate(told):
        about: Any = tuple(names[each] for each in whom) if isinstance(whom, tuple) else names.get(whom, whom)
        shop.later(minutes=1)
        match act:
            case "claim":
                await outcome(shop.claim(*about))
            case "order":
                orders[about] = f"o-{example}-{step}"
                await shop.order(about, orders[about])
            case "return":
                await shop.refund(about, orders.get(about, "o-none"))
            case "merge":
                await shop.post(shop.event(kind=EventKind.ALIAS, previous_id=about[0], user_id=about[1]))
            case _:
                shop.later(days=about)
        await shop.end_holds()
        await shop.route()
        await assert_sound(shop)
    await assert_paid_exactly(shop, names.values())


async def assert_paid_exactly(shop: ReferringShop, user_ids: Iterable[str]) -> None:
    """Every account holds what the rewarded referrals of its customer pay, and nothing else."""
    owed: Counter[UUID] = Counter()
    for row in await shop.referrals():
        if row.state == "rewarded" and row.referee_id is not None:
            owed[row.referrer_id] += REFERRER
            owed[row.referee_id] += REFEREE
    for customer_id in {(await shop.customer(user_id)).id for user_id in user_ids}:
        assert (await shop.balance(customer_id)).available == owed[customer_id]
