"""Tiers of other loyalty systems that were lost or counted wrongly, each tried on ours.

What each system got wrong and where it is told: docs/loyalty/peers.md.
"""

from __future__ import annotations

from typing import Any

from tests.regressions.club import Club, codes

LEVELS = [{"tier": "bronze", "from": 0}, {"tier": "silver", "from": 500}, {"tier": "gold", "from": 2_000}]
PURCHASE = {
    "rule": "purchase",
    "on": {"event": "Order Completed"},
    "amount": {"per": {"amount": 100, "currency": "EUR"}, "of": "properties.subtotal", "points": 1},
}


def tiers(**measure: Any) -> dict[str, Any]:
    """Kept for a year, and lost by one level."""
    return {"measure": {**measure, "window": {"rolling": "12mo"}}, "levels": LEVELS}


async def test_what_a_coupon_took_off_is_taken_off_the_spend_once(club: Club) -> None:
    """POSpire (PR 74, 75) took what was redeemed off the spend twice. The order came to 6 euros, and 6 count."""
    await club.programme(PURCHASE, tiers=tiers(spend="total"))
    ann = await club.member()

    order = await club.buy(ann, 10, total=6, discount=4)
    bought = (await club.get(f"customers/{ann}/tier"))["progress"]["next"]
    await club.give_back(ann, order, 3)
    kept = (await club.get(f"customers/{ann}/tier"))["progress"]["next"]

    assert (bought["figure"], kept["figure"]) == (600, 300)


async def test_points_that_lapse_or_are_spent_leave_the_tier_that_they_reached(club: Club) -> None:
    """Open Loyalty 131, Voucherify 587: redeeming demoted. Others reset points, or redeemed them by themselves, before
    they looked at tiers; here nothing that leaves the balance counts against a tier.
    """
    await club.programme(PURCHASE, tiers=tiers(points="earned"), expires={"after": "10d"})
    spender, saver = await club.member(), await club.member()
    await club.buy(spender, 600)
    await club.buy(saver, 600)

    await club.ask(f"customers/{spender}/points/deduct", points=600)
    club.shop.later(days=11)
    broken = await club.broken_promises()

    for member in (spender, saver):
        assert (await club.available(member), (await club.get(f"customers/{member}/tier"))["tier"]) == (0, "silver")
    assert broken == []


async def test_the_highest_tier_that_is_reached_counts_and_its_boundary_belongs_to_it(club: Club) -> None:
    """erpnext 22167, 14930, 24672, 33550: the wrong one of several tiers, or none at the boundary itself."""
    await club.programme(PURCHASE, tiers=tiers(points="earned"))
    found = []
    for subtotal in (499.99, 500, 1_999, 2_000, 90_000):
        member = await club.member()
        await club.buy(member, subtotal)
        found.append((await club.get(f"customers/{member}/tier"))["tier"])

    assert found == ["bronze", "silver", "silver", "gold", "gold"]


async def test_the_reward_of_a_tier_can_be_marked_as_used_and_taken_back_by_the_api(club: Club) -> None:
    """Smile 4036284: rewards of VIP tiers could not be marked as used, nor redemptions cancelled by the API."""
    await club.programme(PURCHASE, tiers=tiers(points="earned"))
    await club.publish(
        *("rewards", "lounge"),
        gives={"custom": {"lounge": True}},
        price=[{"if": {"tier": "silver"}, "points": 0}, {"points": 100}],
        eligible={"if": {"tier": {"at_least": "silver"}}, "reason": "For silver and up."},
    )
    ann, bob = await club.member(points=100), await club.member(points=100)
    await club.buy(ann, 500)

    refused = await club.post(f"customers/{bob}/rewards/lounge/redeem")
    first, second = [await club.ask(f"customers/{ann}/rewards/lounge/redeem") for _ in range(2)]
    used = await club.ask(f"redemptions/{first['id']}/fulfil")
    back = await club.ask(f"redemptions/{second['id']}/cancel")

    assert codes(refused) == ["not_eligible"]
    assert (first["points"], used["state"], back["state"]) == (0, "fulfilled", "cancelled")


async def test_after_all_of_that_the_doctor_finds_every_promise_kept(club: Club) -> None:
    assert await club.broken_promises() == []
