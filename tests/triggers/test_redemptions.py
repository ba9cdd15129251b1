"""Redemptions of two customers who turn out to be one person: what was redeemed can still be taken back."""

from __future__ import annotations

import pytest

from database import customers
from database.redeeming import cancel, lock_with_customer, redeem
from database.session import Database
from domain.events import EventKind
from domain.points import Balance
from domain.redemptions import Canceller
from tests.rewarding import TENNER, award, balance_of, coupons_of, publish_programme, publish_reward, redemptions_of
from tests.triggers.shop import Shop


@pytest.mark.parametrize("fulfil", [{}, {"fulfil": {"url": "https://shop.example/deliver"}}])
async def test_what_was_redeemed_before_a_merge_is_given_back_after_it(
    shop: Shop, database: Database, fulfil: dict[str, object]
) -> None:
    """Spent points (issued) and held ones (reserved) both find their way to the person who is left."""
    await publish_programme(database)
    await publish_reward(database, TENNER, limit={"per_customer": 1}, **fulfil)
    await shop.identify({}, user_id="u-1")
    await shop.identify({}, user_id="u-2")
    for user in ("u-1", "u-2"):
        await award(database, (await shop.customer(user)).id, 150, at=shop.now)
    loser = (await shop.customer("u-2")).id
    async with database.transaction() as session:
        await customers.lock(session, [loser], skip_locked=False)
        row = await redeem(session, loser, "tenner", shop.now)
    await shop.post(shop.event(kind=EventKind.ALIAS, user_id="u-1", previous_id="u-2"))
    await shop.route()
    survivor = (await shop.customer("u-2")).id
    assert survivor != loser

    async with database.transaction() as session:
        await cancel(session, await lock_with_customer(session, row.id), Canceller.CUSTOMER, "merged", shop.now)

    assert await balance_of(database, survivor, shop.now) == Balance(available=300, earned=300)
    [kept] = await redemptions_of(database)
    assert (kept.customer_id, kept.state) == (survivor, "cancelled")
    assert {made.customer_id for made in await coupons_of(database, "tenner")} <= {survivor, None}
