"""G27, identity and traits: what a browser says never changes, merges or takes what trusted sources said or own."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import select

from database.customers import customer_of
from database.events import Event
from database.orders import Order
from database.refused_merges import open_refusals
from domain.events import MERGE_ASKED, EventKind
from tests.triggers.shop import Shop
from triggers.erasures import request_erasure


async def test_a_browser_cannot_replace_the_address_that_the_shop_gave(shop: Shop) -> None:
    await shop.identify({"email": "ann@shop.example"}, user_id="ann")
    shop.later(hours=1)
    told = {"email": "thief@evil.example", "size": "M"}
    await shop.identify(told, user_id="ann", anonymous_id="x", trusted=False)
    ann = await shop.customer("ann")
    assert (ann.email, ann.traits) == ("ann@shop.example", {"email": "ann@shop.example", "size": "M"})
    _, refused = await shop.events_of(ann.id)
    assert (refused.ignored_untrusted, refused.changed_traits) == (["email"], {"size": "M"})


async def test_a_trusted_word_counts_whenever_it_comes_and_a_trusted_null_stays(shop: Shop) -> None:
    noon = shop.now
    shop.later(hours=1)
    await shop.identify({"email": "thief@evil.example", "phone": "+49 1"}, trusted=False)
    await shop.identify({"email": "ann@shop.example", "phone": None}, timestamp=noon - timedelta(days=1))
    await shop.identify({"phone": "+49 2"}, trusted=False)
    assert (await shop.customer()).traits == {"email": "ann@shop.example"}


async def alias(shop: Shop, previous: str, user: str, *, trusted: bool, **given: Any) -> None:
    await shop.post(shop.event(kind=EventKind.ALIAS, user_id=user, previous_id=previous, trusted=trusted, **given))
    await shop.route()


@pytest.fixture
async def members(shop: Shop) -> Shop:
    """Two members with an order and a profile each, and a browser of the rich one that the shop knows."""
    for user in ("rich", "thief"):
        await shop.identify({"email": f"{user}@shop.example"}, user_id=user, anonymous_id=f"{user}-browser")
        await shop.track("Order Completed", {"order_id": f"o-{user}", "total": 50}, user_id=user)
    shop.later(hours=1)
    return shop


async def wealth(shop: Shop, user: str) -> Any:
    customer = await shop.customer(user)
    async with shop.database.read() as session:
        orders = (await session.execute(select(Order.order_id).where(Order.customer_id == customer.id))).scalars()
        return customer.id, customer.external_id, customer.email, sorted(orders)


HOSTILE: list[dict[str, Any]] = [
    {"kind": EventKind.ALIAS, "user_id": "thief", "previous_id": "rich"},
    {"kind": EventKind.ALIAS, "user_id": "rich", "previous_id": "thief"},
    {"kind": EventKind.ALIAS, "user_id": "thief", "previous_id": "rich-browser"},
    {"kind": EventKind.ALIAS, "user_id": "thief", "previous_id": "rich", "anonymous_id": "rich-browser"},
    {"kind": EventKind.ALIAS, "user_id": "thief", "previous_id": "rich", "name": MERGE_ASKED},
    *(
        {"kind": kind, "user_id": user, "anonymous_id": browser, "traits": {"email": "x@evil.example"}}
        for kind in (EventKind.IDENTIFY, EventKind.TRACK, EventKind.PAGE, EventKind.SCREEN, EventKind.GROUP)
        for user, browser in (("thief", "rich-browser"), ("rich", "thief-browser"), ("thief", "rich"), ("rich", "x"))
    ),
]


@pytest.mark.parametrize("hours", [0, -9_000])
async def test_no_call_of_a_browser_moves_anything_between_two_members(members: Shop, hours: int) -> None:
    before = [await wealth(members, user) for user in ("rich", "thief")]
    for hostile in HOSTILE:
        at = members.now + timedelta(hours=hours)
        await members.post(members.event(**{"name": "Seen", **hostile, "trusted": False, "timestamp": at}))
        await members.route()
    await members.track("Page Viewed", anonymous_id="rich-browser", trusted=False)
    assert [await wealth(members, user) for user in ("rich", "thief")] == before
    rich = await members.customer("rich")
    assert "rich-browser" in {event.anonymous_id for event in await members.events_of(rich.id)}
    assert len(await members.events_of(rich.id)) >= 3


async def test_a_browser_still_tells_who_an_anonymous_visitor_is(shop: Shop) -> None:
    await shop.track("Page Viewed", anonymous_id="a", trusted=False)
    await alias(shop, "a", "ann", trusted=False)
    ann = await shop.customer("ann")
    assert [event.name for event in await shop.events_of(ann.id)] == ["Page Viewed", "Aliased"]
    assert await shop.customer_count() == 1
    assert await refused(shop) == []


async def test_a_browser_that_claims_to_have_been_first_takes_no_history(shop: Shop) -> None:
    await shop.track("Page Viewed", anonymous_id="family")
    await shop.identify(user_id="ann", anonymous_id="family")
    shop.later(hours=1)
    long_ago = shop.now - timedelta(days=300)
    await shop.identify(user_id="thief", anonymous_id="family", timestamp=long_ago, trusted=False)
    assert len(await shop.events_of((await shop.customer("ann")).id)) == 2
    await shop.identify(user_id="bob", anonymous_id="family", timestamp=long_ago)  # the shop is believed
    assert "Page Viewed" in {event.name for event in await shop.events_of((await shop.customer("bob")).id)}


async def refused(shop: Shop) -> list[tuple[str, str, str, int]]:
    async with shop.database.read() as session:
        found = await open_refusals(session, limit=100)
    return sorted((each.previous_id, each.user_id, each.reason, each.times) for each in found)


async def test_a_refused_merge_of_a_browser_is_kept_with_both_ids(members: Shop) -> None:
    for _ in range(2):
        await alias(members, "rich", "thief", trusted=False)
    assert await refused(members) == [("rich", "thief", "untrusted", 2)]
    await alias(members, "rich", "thief", trusted=True)
    assert await refused(members) == []


async def test_one_constant_in_a_shops_code_joins_a_few_customers_and_not_all(shop: Shop) -> None:
    users = [f"u-{number}" for number in range(50)]
    for user in users:
        await alias(shop, "constant", user, trusted=True)
    assert await shop.customer_count() == 47  # four and the constant are one; the others stay who they are
    assert len(await refused(shop)) == 46
    assert len({(await shop.customer(user)).id for user in users[4:]}) == 46
    for user in users[4:]:
        assert len(await shop.events_of((await shop.customer(user)).id)) == 1  # no event is lost


async def test_the_limit_counts_over_batches_and_within_one(shop: Shop) -> None:
    users = [f"u-{number}" for number in range(9)]
    pairs = [shop.event(kind=EventKind.ALIAS, user_id=user, previous_id=previous) for previous, user in pairwise(users)]
    await shop.post(*pairs)
    await shop.route()
    people = [(await shop.customer(user)).id for user in users]
    assert [people.count(id_) for id_ in dict.fromkeys(people)] == [5, 4]


@pytest.mark.parametrize("nobody", ["guest", "undefined", "NULL", "0", " ", "[object Object]", "[]", "{}", "Array"])
@pytest.mark.parametrize("trusted", [True, False])
async def test_customers_never_become_one_by_an_id_that_names_nobody(shop: Shop, nobody: str, *, trusted: bool) -> None:
    for user in ("ann", "bob"):
        await shop.track("Page Viewed", anonymous_id=f"{user}-browser", trusted=trusted)
        await alias(shop, nobody, user, trusted=trusted)
        await shop.track("Page Viewed", user_id=user, anonymous_id=nobody, trusted=trusted)
        await shop.track("Page Viewed", user_id=nobody, anonymous_id=f"{user}-browser", trusted=trusted)
        await shop.identify({"name": user}, user_id=nobody, anonymous_id=f"{user}-browser", trusted=trusted)
    assert await shop.customer_count() == 4  # two members, two visitors
    await shop.identify(user_id="ann", anonymous_id="ann-browser", trusted=trusted)
    assert (await shop.customer("ann")).traits == {"name": "ann"}
    assert await shop.customer_count() == 3


async def test_events_under_a_placeholder_alone_are_kept_as_one_customers(shop: Shop) -> None:
    for _ in range(3):
        await shop.track("Page Viewed", user_id="guest")
    assert len(await shop.events_of((await shop.customer("guest")).id)) == 3


@pytest.fixture
async def erased(shop: Shop) -> Shop:
    """A shop where ann, known by one browser, was erased a day ago."""
    await shop.identify({"email": "ann@shop.example"}, user_id="ann", anonymous_id="old-browser")
    shop.later(minutes=1)
    customer = await shop.customer("ann")
    async with shop.database.transaction() as session:
        await request_erasure(session, customer.id, by="key", as_of=shop.now)
    shop.later(days=1)
    return shop


async def is_known(shop: Shop, user_id: str) -> bool:
    async with shop.database.read() as session:
        return await customer_of(session, user_id) is not None


async def test_no_browser_brings_an_erased_customer_back(erased: Shop) -> None:
    told = {"email": "x@evil.example"}
    await erased.identify(told, user_id="ann", anonymous_id="x", trusted=False)
    await erased.identify(told, user_id="ann", trusted=False)
    await alias(erased, "ann", "bob", trusted=False, anonymous_id="bobs")
    await alias(erased, "x", "ann", trusted=False, anonymous_id="x")
    assert not await is_known(erased, "ann")
    async with erased.database.read() as session:
        events = (await session.execute(select(Event).where(Event.received_at == erased.now))).scalars().all()
    assert {(event.subject, event.user_id, event.previous_id) for event in events} == {
        ("a:x", None, None),
        ("u:bob", "bob", None),
        ("a:x", None, "x"),
    }
    assert {event.status for event in events} == {"routed"}


async def test_once_the_shop_names_the_erased_id_again_browsers_may_too(erased: Shop) -> None:
    await erased.post(
        erased.event("Page Viewed", user_id="ann", anonymous_id="early", trusted=False),
        erased.event("Order Completed", properties={"order_id": "o-1"}, user_id="ann"),
        erased.event("Page Viewed", user_id="ann", anonymous_id="late", trusted=False),
    )
    await erased.route()
    await erased.track("Page Viewed", user_id="ann", trusted=False)
    ann = await erased.customer("ann")
    assert [event.anonymous_id for event in await erased.events_of(ann.id)] == [None, "late", None]


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
async def test_what_the_shop_said_of_a_visitor_is_no_word_about_a_member_whom_only_a_browser_names(
    shop: Shop, order: tuple[int, ...]
) -> None:
    noon = shop.now
    told = [
        shop.event(kind=EventKind.IDENTIFY, user_id="rich", traits={"email": "rich@shop.example"}),
        shop.event(kind=EventKind.IDENTIFY, anonymous_id="x", traits={"email": "x@evil.example"}),
        shop.event(kind=EventKind.IDENTIFY, user_id="rich", anonymous_id="x", trusted=False),
    ]
    told = [
        replace(event, timestamp=noon + timedelta(hours=hour), received_at=noon + timedelta(hours=hour))
        for hour, event in enumerate(told)
    ]
    shop.later(hours=9)
    for position in order:
        await shop.post(told[position])
        await shop.route()
    assert (await shop.customer("rich")).email == "rich@shop.example"
    at = noon + timedelta(hours=1.5)
    await shop.identify(user_id="rich", anonymous_id="x", timestamp=at)  # now the shop says it, and of an earlier time
    assert (await shop.customer("rich")).email == "x@evil.example"
