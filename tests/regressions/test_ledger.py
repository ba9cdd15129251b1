"""Points of other loyalty systems that were doubled, lost or conjured up, each tried on ours over HTTP and the router.

What each system got wrong and where it is told: docs/loyalty/peers.md.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import text

from tests.regressions.club import Club, codes

PURCHASE = {
    "rule": "purchase",
    "on": {"event": "Order Completed"},
    "amount": {"per": {"amount": 100, "currency": "EUR"}, "of": "properties.subtotal", "points": 1},
}


@pytest.fixture(autouse=True, scope="module")
async def programme(club: Club) -> None:
    """A point for each euro, good for ten days; a point is worth two cents, of which the shop bears half."""
    await club.programme(
        PURCHASE,
        expires={"after": "10d"},
        points={"value": {"amount": 2, "currency": "EUR"}, "cost_share": 0.5},
    )
    await club.publish("rewards", "tea", gives={"gift": "tea"}, price=[{"points": 100}])
    await club.publish(
        *("rewards", "card"), gives={"gift_card": {"amount": 500, "currency": "EUR"}}, price=[{"points": 1}], lasts="5d"
    )


async def test_points_and_money_are_whole_numbers_wherever_they_are_kept(club: Club) -> None:
    """R4: Open Loyalty 3 sums floats up to a balance, and Talon.One's amounts are floats too."""
    statement = text("""
        SELECT table_name || '.' || column_name FROM information_schema.columns
        WHERE table_schema = 'public' AND data_type IN ('real', 'double precision', 'money')
    """)
    async with club.shop.database.read() as session:
        assert (await session.execute(statement)).scalars().all() == []
    ann = await club.member()

    for _ in range(10):
        await club.buy(ann, 10.10)
    refused = await club.post(f"customers/{ann}/points/award", points=0.5)

    assert (await club.available(ann), refused.status_code) == (100, 422)


async def test_points_lapse_wherever_they_came_from(club: Club) -> None:
    """R8: in liberusoftware (PR 1056) only lots with a label lapsed, and all others never."""
    ann, bob, cid = await club.member(), await club.member(), await club.member()
    day = club.shop.now + timedelta(days=10)
    until = day.isoformat()
    await club.buy(ann, 10)
    await club.ask(f"customers/{ann}/points/award", points=20, expires_at=until)
    await club.ask(f"customers/{ann}/points/adjust", points=40, reason="a late parcel", expires_at=until)
    held = await club.ask(f"customers/{ann}/points/hold", points=5)
    await club.ask(f"holds/{held['hold_id']}/release")
    await club.ask(f"customers/{ann}/points/transfer", to=bob, points=30)
    await club.become_one(bob, cid)
    before = await club.available(ann), await club.available(cid)

    club.shop.now = day

    assert before == (40, 30)
    assert (await club.available(ann), await club.available(cid)) == (0, 0)
    assert (await club.points(ann))["expired"] + (await club.points(cid))["expired"] == 70


async def test_what_has_lapsed_can_no_longer_be_claimed(club: Club) -> None:
    """R9: a wallet past its end could still be claimed in odoo (PR 247740, 206048, 208134)."""
    ann, bob = await club.member(), await club.member()
    until = club.shop.now + timedelta(days=5)
    await club.ask(f"customers/{ann}/points/award", points=300, expires_at=until.isoformat())
    card = (await club.ask(f"customers/{ann}/rewards/card/redeem"))["code"]
    held = await club.ask(f"customers/{ann}/points/hold", points=100, expires_at=until.isoformat())
    cart = {"currency": "EUR", "lines": [{"product_id": "cup", "price": 900}]}

    club.shop.now = until

    assert codes(
        await club.post("coupons/redeem", codes=[card], customer_id=ann, order_id="late", cart=cart),
        await club.post(f"holds/{held['hold_id']}/capture"),
        await club.post(f"customers/{ann}/points/transfer", to=bob, points=1),
        await club.post(f"customers/{ann}/points/hold", points=1),
        await club.post(f"customers/{ann}/rewards/tea/redeem"),
    ) == ["coupon_expired", "hold_expired", *["insufficient_points"] * 3]


async def test_twenty_gifts_at_once_out_of_one_balance_are_one_gift(club: Club) -> None:
    """R10: in fuint (71) twenty requests of 100 points out of a balance of 100 credited 2,000."""
    ann, bob = await club.member(points=100), await club.member()

    gifts = (club.post(f"customers/{ann}/points/transfer", to=bob, points=100) for _ in range(20))
    answers = await asyncio.gather(*gifts)

    assert sorted(map(str, codes(*answers))) == ["200", *["insufficient_points"] * 19]
    assert (await club.available(ann), await club.available(bob)) == (0, 100)


async def test_giving_back_never_overwrites_what_came_meanwhile(club: Club) -> None:
    """R12: a rollback put a snapshot back over newer changes (Leetcode-City PR 180, Nova-Rewards 190, EvaP 1785)."""
    ann = await club.member(points=100)
    redemption = await club.ask(f"customers/{ann}/rewards/tea/redeem")

    await asyncio.gather(
        *(club.ask(f"customers/{ann}/points/award", points=1) for _ in range(6)),
        club.ask(f"redemptions/{redemption['id']}/cancel"),
        *(club.ask(f"customers/{ann}/points/award", points=1) for _ in range(6)),
    )

    assert await club.available(ann) == 112


async def test_points_that_were_used_one_way_cannot_be_used_another_way(club: Club) -> None:
    """R13: erpnext (59050) looked for uses among one kind of document only, so the same points paid for ever."""
    ann, bob = await club.member(points=100), await club.member()
    path = f"customers/{ann}"

    answers = await asyncio.gather(
        club.post(f"{path}/rewards/tea/redeem"),
        club.post(f"{path}/points/deduct", points=100),
        club.post(f"{path}/points/hold", points=100),
        club.post(f"{path}/points/transfer", to=bob, points=100),
        club.post(f"{path}/points/adjust", points=-100, reason="by hand"),
    )

    assert sorted(map(str, codes(*answers))) == ["200", *["insufficient_points"] * 4]
    assert await club.available(ann) == 0


async def test_points_become_money_by_the_rate_that_is_written(club: Club) -> None:
    """R15: POS-Awesome (45) divided where it had to multiply, and took no points."""
    ann = await club.member()
    club.shop.later(seconds=1)  # what happens at this very instant is not yet in the report
    before = await club.get("programmes/main/liability")

    await club.buy(ann, 250)
    club.shop.later(seconds=1)
    after = await club.get("programmes/main/liability")
    await club.ask(f"customers/{ann}/rewards/tea/redeem")

    assert after["outstanding"] - before["outstanding"] == 250
    assert after["liability"] == {
        "amount": round(after["outstanding"] * 2 * 0.5 * after["expected_redemption_rate"]["rate"]),
        "currency": "EUR",
    }
    assert await club.available(ann) == 150


async def test_no_later_save_moves_the_day_on_which_points_lapse(club: Club) -> None:
    """R19: in magfest/ubersystem (PR 3452) every save of the record moved the date forward."""
    ann, twin = await club.member(), await club.member()
    await club.buy(ann, 100)
    dates = await _dates(club, ann)

    club.shop.later(days=2)
    await club.shop.identify({"name": "Ann"}, user_id=ann)
    await club.programme(PURCHASE, expires={"after": "99d"})
    held = await club.ask(f"customers/{ann}/points/hold", points=50)
    await club.ask(f"holds/{held['hold_id']}/release")
    redemption = await club.ask(f"customers/{ann}/rewards/tea/redeem")
    await club.ask(f"redemptions/{redemption['id']}/cancel")
    await club.become_one(twin, ann)

    assert await _dates(club, ann) == dates
    assert len(dates) == 1


async def _dates(club: Club, member: str) -> set[str]:
    return {lot["expires_at"] for lot in (await club.points(member))["lots"] if lot["remaining"]}


async def test_a_deduction_never_goes_below_zero_and_a_return_may_and_is_paid_off_first(club: Club) -> None:
    """R24: Smile refuses what would go below zero, Zenoti lets it. Written down here: what people ask for is refused,
    what a return takes back is owed, and the next points pay it off.
    """
    ann = await club.member()
    order = await club.buy(ann, 100)
    await club.ask(f"customers/{ann}/points/deduct", points=80)

    by_hand = await club.post(f"customers/{ann}/points/deduct", points=21)
    await club.give_back(ann, order)
    owed = await club.available(ann)
    further = await club.post(f"customers/{ann}/points/deduct", points=1)
    await club.buy(ann, 100)

    assert codes(by_hand, further) == ["insufficient_points"] * 2
    assert (owed, await club.available(ann)) == (-80, 20)


async def test_servers_whose_clocks_differ_write_one_history(club: Club) -> None:
    """Found by reading Setono: its ledger replays by the clock of whichever server wrote, and clocks differ."""
    ann = await club.member(points=100)

    await club.ask(f"customers/{ann}/points/deduct", points=70)
    club.shop.later(minutes=-3)
    await club.ask(f"customers/{ann}/points/award", points=20)
    club.shop.later(minutes=3)
    await club.ask(f"customers/{ann}/points/deduct", points=50)

    history = (await club.get(f"customers/{ann}/points/history"))["data"]
    assert [(move["kind"], move["points"]) for move in history] == [
        ("deduct", -50),
        ("award", 20),
        ("deduct", -70),
        ("award", 100),
    ]
    assert await club.available(ann) == 0


async def test_after_all_of_that_the_doctor_finds_every_promise_kept(club: Club) -> None:
    assert await club.broken_promises() == []
