"""G27 as a whole: whatever browsers say between the events of the shop's server, what was decided about value is the
same as without them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from database.session import Database
from domain.events import EventKind, NewEvent
from domain.own_events import OWN_EVENTS
from tests.challenging import put_live
from tests.triggers.shop import Shop
from tests.triggers.test_statement_counts import bought, open_everything

Batch = tuple[datetime, list[NewEvent]]

USERS = ("ann", "bob", "cy")
BROWSERS = ("ann-browser", "bob-browser", "cy-browser", "x", "y")
COMMERCE = ("Order Completed", "Order Updated", "Order Refunded", "Order Cancelled", "Review Written")
GIFT: dict[str, Any] = {
    "journey": "gift",
    "enter": {
        "on": {"event": "Order Completed", "where": [{"property": "total", "gte": 5}]},
        "if": {"any": [{"trait": "plan", "eq": "gold"}, {"did": "Review Written", "at_least": 1}]},
        "occasion": "properties.order_id",
        "again": {"while_active": True},
    },
    "exit": [{"event": "Order Cancelled"}],
    "steps": [{"wait": {"for": "1h"}}, {"points": {"award": 5}}],
}
DECIDED: Mapping[str, str] = {
    "points": "SELECT i.value, b.available, b.pending FROM point_balances b"
    " JOIN identities i ON i.customer_id = b.account",
    "earned": "SELECT i.value, e.rule, sum(e.points) FROM earnings e JOIN identities i USING (customer_id)",
    "tiers": "SELECT i.value, t.tier FROM tier_standings t JOIN identities i USING (customer_id)",
    "prizes": "SELECT i.value, c.challenge, c.level FROM challenge_completions c JOIN identities i USING (customer_id)",
    "orders": "SELECT i.value, o.order_id, o.state, o.total, o.refunded FROM orders o"
    " JOIN identities i USING (customer_id)",
    "people": "SELECT i.value, c.external_id FROM identities i JOIN customers c ON c.id = i.customer_id",
    "runs": "SELECT i.value, r.occasion FROM runs r JOIN identities i USING (customer_id)",
}
TRUSTED_RUNS = " AND r.journey = 'gift' AND r.untrusted IS NULL"


def server(chance: random.Random, shop: Shop) -> NewEvent:
    """Something that the shop's server says of a customer whom it names."""
    user = chance.choice(USERS)
    whose: dict[str, Any] = (
        {"user_id": user, "anonymous_id": f"{user}-browser"} if chance.random() < 0.4 else {"user_id": user}
    )
    order = {**bought(chance.randint(1, 12)), "total": chance.choice([4, 50, 100])}
    name = chance.choice(["Order Completed"] * 3 + ["Order Refunded", "Order Cancelled", "Review Written", None, None])
    traits = [{"email": f"{user}@shop.example"}, {"plan": "gold"}, {"plan": None}, {"timezone": "Europe/Rome"}]
    if name is None:
        return shop.event(kind=EventKind.IDENTIFY, traits=chance.choice(traits), **whose)
    return shop.event(name, properties=order, **whose)


def browser(chance: random.Random, shop: Shop) -> NewEvent:
    """Whatever a page can say."""
    user, visitor = chance.choice(USERS), chance.choice(BROWSERS)
    whose: dict[str, Any] = chance.choice(
        [{"user_id": user}, {"anonymous_id": visitor}, {"user_id": user, "anonymous_id": visitor}]
    )
    told: dict[str, Any] = {"source": "page", "trusted": False}
    match chance.randrange(3):
        case 0:
            claims = {**bought(chance.randint(1, 14)), "total": 900, "points": 999, "tier": "gold", "level": "done"}
            return shop.event(chance.choice([*COMMERCE, *sorted(OWN_EVENTS)]), properties=claims, **whose, **told)
        case 1:
            traits = [{"email": "x@evil.example"}, {"plan": "gold"}, {"plan": "tin"}, {"timezone": "Asia/Tokyo"}]
            zone = {"timezone": "Pacific/Kiritimati"}
            return shop.event(kind=EventKind.IDENTIFY, traits=chance.choice(traits), context=zone, **whose, **told)
        case _:
            previous = chance.choice(USERS + BROWSERS)
            return shop.event(kind=EventKind.ALIAS, user_id=user, previous_id=previous, **told)


def some_days(seed: int, shop: Shop) -> list[Batch]:
    """The server names everybody first, and both go on at random."""
    chance = random.Random(seed)
    named: list[dict[str, Any]] = [{"user_id": user, "traits": {"email": f"{user}@shop.example"}} for user in USERS]
    batches = [(shop.now, [shop.event(kind=EventKind.IDENTIFY, **each) for each in named])]
    for _ in range(20):
        told = [chance.choice([server, browser])(chance, shop) for _ in range(chance.randint(1, 10))]
        late = [replace(each, timestamp=shop.now - timedelta(seconds=chance.choice([0, 0, 3_600]))) for each in told]
        batches.append((shop.now, late))
        shop.later(minutes=chance.choice([1, 30, 600]))
    return batches


async def decided(database: Database, batches: Sequence[Batch]) -> dict[str, list[tuple[Any, ...]]]:
    """What comes of these events where all that the product offers is live."""
    shop = Shop(database)
    await open_everything(shop)
    await put_live(shop, "journey", GIFT)
    for now, events in batches:
        shop.now = now
        await shop.post(*(replace(each) for each in events))
        assert (await shop.route()).failed == 0
    found = {}
    async with database.read() as session:
        for what, statement in DECIDED.items():
            only = " WHERE i.kind = 'user'" + (TRUSTED_RUNS if what == "runs" else "")
            grouped = " GROUP BY 1, 2" if "sum(" in statement else ""
            found[what] = sorted(map(tuple, await session.execute(text(statement + only + grouped))), key=str)
    found["addresses"] = [(user, (await shop.customer(user)).email) for user in USERS]
    return found


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [1, 2])
async def test_whatever_browsers_say_in_between_what_the_shop_decides_about_value_is_the_same(
    database: Database, other_database: Database, seed: int
) -> None:
    batches = some_days(seed, Shop(database))

    with_browsers = await decided(database, batches)
    alone = await decided(other_database, [(now, [each for each in events if each.trusted]) for now, events in batches])

    assert with_browsers == alone
    assert all(alone.values()), "something of each kind was decided"
