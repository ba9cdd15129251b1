"""How redemptions end: cancelled, fulfilled, lapsed, or let go with a customer who is erased; and what goes back."""

from __future__ import annotations

from datetime import timedelta

import pytest

from database import coupons
from database.erasure_rules import blank_redemptions
from database.points import lots_of
from database.redeeming import expire_some, issue, lock_with_customer
from database.redemptions import mark_for_review
from database.session import Database
from domain.errors import Conflict
from domain.points import Balance
from domain.redemptions import RESERVED_FOR, Canceller, Review
from tests.factories import NOON
from tests.rewarding import (
    DAY,
    DELIVERED,
    MAIN,
    TENNER,
    balance_of,
    buy,
    coupon,
    end,
    make_member,
    publish_programme,
    publish_reward,
    redemptions_of,
    taken,
)


@pytest.fixture(autouse=True)
async def programme(database: Database) -> None:
    await publish_programme(database, restore_grace="30d")


async def test_a_customer_who_cancels_gets_the_points_back_as_they_were(database: Database) -> None:
    await publish_reward(database, stock=1)
    ann = await make_member(database, points=100, expires=NOON + 5 * DAY)
    row = await buy(database, ann)

    cancelled = await end(database, row, Canceller.CUSTOMER, NOON + DAY)

    assert (cancelled.state, cancelled.reason) == ("cancelled", "changed my mind")
    assert await taken(database, "free-tea") == 0
    assert (await balance_of(database, ann, NOON + 4 * DAY)).available == 100
    assert (await balance_of(database, ann, NOON + 5 * DAY)) == Balance(expired=100, earned=100)


async def test_points_that_lapsed_meanwhile_stay_lapsed_for_a_customer_who_cancels(database: Database) -> None:
    await publish_reward(database)
    ann = await make_member(database, points=100, expires=NOON + 5 * DAY)
    row = await buy(database, ann)

    await end(database, row, Canceller.CUSTOMER, NOON + 6 * DAY)

    assert await balance_of(database, ann, NOON + 6 * DAY) == Balance(expired=100, earned=100)


@pytest.mark.parametrize(("lot_lasts", "usable_for"), [(5 * DAY, 36 * DAY), (100 * DAY, 100 * DAY)])
async def test_a_shop_that_cancels_leaves_time_to_use_the_points(
    database: Database, lot_lasts: timedelta, usable_for: timedelta
) -> None:
    """Until max(original expiry, now + restore_grace): Open Loyalty's rollbacks lost the date."""
    await publish_reward(database)
    ann = await make_member(database, points=100, expires=NOON + lot_lasts)
    row = await buy(database, ann)

    await end(database, row, Canceller.SHOP, NOON + 6 * DAY)

    async with database.read() as session:
        [lot] = (await lots_of(session, MAIN, ann, NOON + 6 * DAY)).lots
    assert (lot.remaining, lot.expires_at) == (100, NOON + usable_for)


async def test_a_second_cancel_gives_nothing_more(database: Database) -> None:
    """Open Loyalty: several rollbacks of one redemption each gave the points back."""
    await publish_reward(database)
    ann = await make_member(database, points=100)
    row = await buy(database, ann)
    await end(database, row, Canceller.SHOP)

    with pytest.raises(Conflict) as refused:
        await end(database, row, Canceller.SHOP)

    assert (refused.value.code, refused.value.members) == ("redemption_ended", {"state": "cancelled"})
    assert (await balance_of(database, ann)).available == 100


async def test_a_code_that_was_shown_is_void_and_one_that_was_not_goes_back(database: Database) -> None:
    await publish_reward(database, TENNER, codes="pool")
    await publish_reward(database, TENNER, reward="by-post", codes="pool", **DELIVERED)
    async with database.transaction() as session:
        await coupons.load_codes(session, "tenner", ["SHOWN"])
        await coupons.load_codes(session, "by-post", ["HIDDEN"])
    ann = await make_member(database, points=200)

    for reward in ("tenner", "by-post"):
        await end(database, await buy(database, ann, reward), Canceller.CUSTOMER)

    shown, hidden = await coupon(database, "SHOWN"), await coupon(database, "HIDDEN")
    assert (shown.state, shown.customer_id) == ("void", ann)
    assert (hidden.state, hidden.customer_id, hidden.redemption_id) == ("pooled", None, None)
    assert (await balance_of(database, ann)) == Balance(available=200, earned=200)


async def test_what_is_not_issued_in_time_gives_everything_back(database: Database) -> None:
    await publish_reward(database, stock=1, **DELIVERED)
    ann = await make_member(database, points=100)
    row = await buy(database, ann)
    late = NOON + RESERVED_FOR

    async with database.transaction() as session:
        assert await expire_some(session, late) == 1

    [expired] = await redemptions_of(database)
    assert (expired.state, await taken(database, "free-tea")) == ("expired", 0)
    assert await balance_of(database, ann, late) == Balance(available=100, earned=100)
    with pytest.raises(Conflict):
        await end(database, row, at=late)


async def test_issuing_too_late_expires_it_whether_or_not_anybody_swept(database: Database) -> None:
    await publish_reward(database, stock=1, **DELIVERED)
    ann = await make_member(database, points=100)
    row = await buy(database, ann)
    late = NOON + RESERVED_FOR

    async with database.transaction() as session:
        await issue(session, await lock_with_customer(session, row.id), late)

    [expired] = await redemptions_of(database)
    assert (expired.state, await taken(database, "free-tea")) == ("expired", 0)
    assert await balance_of(database, ann, late) == Balance(available=100, earned=100)


async def test_what_lapses_after_it_was_issued_is_forfeited(database: Database) -> None:
    await publish_reward(database, TENNER, lasts="7d", stock=1)
    ann = await make_member(database, points=100)
    row = await buy(database, ann, "tenner")
    async with database.transaction() as session:
        assert await expire_some(session, NOON + 7 * DAY - timedelta(seconds=1)) == 0

    async with database.transaction() as session:
        await expire_some(session, NOON + 7 * DAY)

    assert row.code is not None
    assert ((await coupon(database, row.code)).state, await taken(database, "tenner")) == ("void", 1)
    assert (await balance_of(database, ann, NOON + 8 * DAY)) == Balance(spent=100, earned=100)


async def test_nothing_lapses_while_a_person_has_to_look_at_it(database: Database) -> None:
    await publish_reward(database, lasts="7d")
    row = await buy(database, await make_member(database, points=100))
    async with database.transaction() as session:
        await mark_for_review(session, await lock_with_customer(session, row.id), Review.NO_ANSWER)

    async with database.transaction() as session:
        assert await expire_some(session, NOON + 8 * DAY) == 0
    fulfilled = await end(database, row, at=NOON + 9 * DAY)

    assert (fulfilled.state, fulfilled.review) == ("fulfilled", None)


async def test_an_erased_customer_gives_back_what_was_only_reserved(database: Database) -> None:
    """Stock and pooled code go back once, however often the activity runs; what was issued stays counted."""
    await publish_reward(database, TENNER, codes="pool", stock=1, **DELIVERED)
    await publish_reward(database, reward="kept", stock=1)
    async with database.transaction() as session:
        await coupons.load_codes(session, "tenner", ["ONLY-ONE"])
    ann, bob = await make_member(database, points=200), await make_member(database, "bob", points=100)
    await buy(database, ann, "tenner")
    await buy(database, ann, "kept")

    for _ in range(2):
        async with database.transaction() as session:
            await blank_redemptions(session, [ann])

    assert (await taken(database, "tenner"), await taken(database, "kept")) == (0, 1)
    assert {row.reward: row.state for row in await redemptions_of(database)} == {"tenner": "expired", "kept": "expired"}
    assert (await buy(database, bob, "tenner")).code == "ONLY-ONE"
