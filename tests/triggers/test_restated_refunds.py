"""A refund that is stated once more counts as it was stated last, for points, for what was earned and for the tier."""

from __future__ import annotations

import pytest

from domain.points import Balance
from tests.triggers.earning import ORDER, PURCHASE, balance, bought, buy, open_programme, refunded
from tests.triggers.shop import Shop
from tests.triggers.test_tiers import history

GOLD = {
    "measure": {"points": "earned", "window": {"rolling": "12mo"}},
    "levels": [{"tier": "bronze", "from": 0}, {"tier": "gold", "from": 500, "multiply": 2}],
}
FOR_GOLD = {"rule": "seven", "on": {"event": ORDER}, "if": {"tier": "gold"}, "amount": {"points": 7}}


@pytest.mark.parametrize("together", [False, True])
async def test_a_refund_restated_lower_gives_points_and_tier_back_at_once(shop: Shop, together: bool) -> None:
    await open_programme(shop, PURCHASE, FOR_GOLD, tiers=GOLD)
    told = [bought(shop, "A", 600)]
    for total in (200, 50, 200, 50):
        shop.later(seconds=10)
        told.append(refunded(shop, "A", total, properties={"refund_id": "r"}))
    for event in told:
        await shop.post(event)
        if not together:
            await shop.route()
    await shop.route()

    assert await balance(shop) == Balance(available=550, earned=600, reversed=50)
    assert (await history(shop))[-1] == ("gold", "qualified")
    shop.later(seconds=10)
    await buy(shop, "B", 100)
    assert await balance(shop) == Balance(available=764, earned=814, reversed=50)  # both rules pay double
