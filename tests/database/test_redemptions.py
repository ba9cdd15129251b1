"""Redeeming over the real database: all or nothing, also when fifty want the last one (invariant 9)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from uuid import UUID

import pytest
from sqlalchemy import select

from database import coupons, customers
from database.earnings import boosts_of
from database.events import Event
from database.outbox import Command
from database.points import lots_of
from database.redeeming import cancel, expire_some, fulfil, issue, lock_with_customer, offers, redeem
from database.redemptions import Redemption, give, mark_for_review
from database.rewards import live_rewards
from database.session import Database
from domain.documents import DocumentState
from domain.errors import Conflict, NotFound
from domain.points import Balance
from domain.redemptions import RESERVED_FOR, Canceller, Given, NotGiven, RedemptionState, Review
from domain.rewards import Reason
from tests.factories import NOON
from tests.rewarding import (
    DAY,
    MAIN,
    TEA,
    TENNER,
    award,
    balance_of,
    coupon,
    coupons_of,
    make_member,
    publish,
    publish_programme,
    publish_reward,
    redemptions_of,
    taken,
)

DELIVERED = {"fulfil": {"url": "https://shop.example/deliver"}}


@pytest.fixture(autouse=True)
async def programme(database: Database) -> None:
    await publish_programme(database, restore_grace="30d")


async def buy(database: Database, who: UUID, reward: str = "free-tea", at: datetime = NOON) -> Redemption:
    async with database.transaction() as session:
        await customers.lock(session, [who], skip_locked=False)
        return await redeem(session, who, reward, at)


async def end(database: Database, row: Redemption, by: Canceller | None = None, at: datetime = NOON) -> Redemption:
    """Cancel by somebody, or fulfil."""
    async with database.transaction() as session:
        locked = await lock_with_customer(session, row.id)
        await (fulfil(session, locked, at) if by is None else cancel(session, locked, by, "changed my mind", at))
        return locked


async def gift(database: Database, who: UUID, reward: str, key: str) -> Given | NotGiven:
    async with database.transaction() as session:
        await customers.lock(session, [who], skip_locked=False)
        return await give(session, who, reward, key, NOON)


async def tried(attempts: Sequence[asyncio.Future[Redemption] | asyncio.Task[Redemption]]) -> Counter[str]:
    """How the attempts ended: the codes of refusals, `done` for the others."""
    ended = await asyncio.gather(*attempts, return_exceptions=True)
    unexpected = [each for each in ended if isinstance(each, BaseException) and not isinstance(each, Conflict)]
    assert unexpected == []
    return Counter(each.code if isinstance(each, Conflict) else "done" for each in ended)


# Redeeming -----------------------------------------------------------------------------------------------


async def test_redeeming_spends_the_points_and_shows_the_code(database: Database) -> None:
    await publish_reward(database, TENNER, lasts="30d")
    ann = await make_member(database, points=250)

    row = await buy(database, ann, "tenner")

    assert (row.state, row.points, row.expires_at) == ("issued", 100, NOON + 30 * DAY)
    assert row.code is not None
    assert await balance_of(database, ann) == Balance(available=150, spent=100, earned=250)
    made = await coupon(database, row.code)
    assert (made.state, made.customer_id, made.uses, made.valid_until) == ("active", ann, 1, row.expires_at)


async def test_journeys_hear_of_it_with_the_code_that_they_can_mail(database: Database) -> None:
    await publish_reward(database, TENNER)
    ann = await make_member(database, points=100)

    row = await buy(database, ann, "tenner")

    async with database.read() as session:
        told = (await session.execute(select(Event.name, Event.properties).order_by(Event.id))).all()
    assert [name for name, _ in told] == ["Reward Redeemed", "Reward Issued"]
    assert "code" not in told[0].properties
    assert told[1].properties["code"] == row.code


async def test_what_the_shop_delivers_only_holds_the_points_and_starts_a_workflow(database: Database) -> None:
    await publish_reward(database, **DELIVERED)
    ann = await make_member(database, points=100)

    row = await buy(database, ann)

    assert (row.state, row.expires_at) == ("reserved", NOON + RESERVED_FOR)
    assert await balance_of(database, ann) == Balance(held=100, earned=100)
    async with database.read() as session:
        [command] = (await session.execute(select(Command))).scalars()
    assert (command.kind, command.workflow_id) == ("start", f"redemption/{row.id}")
    assert command.payload["input"] == {"redemption_id": str(row.id)}


async def test_a_refused_redemption_leaves_nothing_behind(database: Database) -> None:
    """Open Loyalty: "No coupons left" came after the points were taken."""
    await publish_reward(database, TENNER, codes="pool", stock=5)
    ann = await make_member(database, points=100)

    with pytest.raises(Conflict) as refused:
        await buy(database, ann, "tenner")

    assert refused.value.code == "no_codes_left"
    assert await balance_of(database, ann) == Balance(available=100, earned=100)
    assert (await taken(database, "tenner"), await redemptions_of(database)) == (0, [])


@pytest.mark.parametrize("key", ["nothing-there", "only-a-draft"])
async def test_what_is_not_published_is_not_found(database: Database, key: str) -> None:
    ann = await make_member(database, points=100)

    with pytest.raises(NotFound):
        await buy(database, ann, key)


async def test_a_paused_reward_cannot_be_had(database: Database) -> None:
    ann = await make_member(database, points=100)
    await publish(database, "reward", TEA, DocumentState.PAUSED)

    with pytest.raises(Conflict) as refused:
        await buy(database, ann)

    assert refused.value.code == "not_live"


async def test_the_first_price_that_fits_counts(database: Database) -> None:
    gold = {"if": {"trait": "club", "eq": "gold"}, "points": 60}
    await publish_reward(database, price=[gold, {"points": 100}])
    ann = await make_member(database, "ann", points=100, club="gold")
    bob = await make_member(database, "bob", points=100)

    assert (await buy(database, ann)).points == 60
    assert (await buy(database, bob)).points == 100


async def test_a_price_that_was_raised_since_the_customer_saw_it_is_not_taken(database: Database) -> None:
    await publish_reward(database)
    ann = await make_member(database, points=500)
    await publish_reward(database, price=[{"points": 300}])

    async with database.transaction() as session:
        await customers.lock(session, [ann], skip_locked=False)
        with pytest.raises(Conflict) as refused:
            await redeem(session, ann, "free-tea", NOON, expected=100)

    assert (refused.value.code, refused.value.members["points"]) == ("price_changed", 300)
    assert (await balance_of(database, ann)).available == 500


async def test_a_limit_for_each_customer_counts_what_was_kept_in_the_period(database: Database) -> None:
    await publish_reward(database, limit={"per_customer": 1, "per": "7d"})
    ann = await make_member(database, points=500)
    first = await buy(database, ann)
    with pytest.raises(Conflict) as refused:
        await buy(database, ann, at=NOON + 6 * DAY)
    assert refused.value.code == "limit_reached"

    await end(database, first, Canceller.CUSTOMER)
    await buy(database, ann)

    assert (await buy(database, ann, at=NOON + 7 * DAY)).state == "issued"


async def test_every_reward_says_why_it_cannot_be_had(database: Database) -> None:
    await publish_reward(database, reward="fine")
    await publish_reward(database, reward="dear", price=[{"points": 1_000}])
    await publish_reward(database, reward="gone", stock=0)
    await publish_reward(
        database, reward="club", eligible={"if": {"trait": "club", "eq": "gold"}, "reason": "For our gold club."}
    )
    await publish_reward(database, reward="gift-only", price=[])
    ann = await make_member(database, points=100)

    async with database.read() as session:
        found = await offers(session, ann, await live_rewards(session), NOON)

    assert {offer.reward.key: (offer.reasons, offer.told) for offer in found} == {
        "club": ([Reason.NOT_ELIGIBLE], "For our gold club."),
        "dear": ([Reason.INSUFFICIENT_POINTS], None),
        "fine": ([], None),
        "gift-only": ([Reason.NOT_FOR_SALE], None),
        "gone": ([Reason.SOLD_OUT], None),
    }


async def test_a_multiplier_is_in_force_at_once_and_cannot_be_taken_back(database: Database) -> None:
    await publish_reward(database, reward="double", gives={"points_multiplier": 2, "lasts": "7d"})
    ann = await make_member(database, points=100)

    row = await buy(database, ann, "double")

    assert row.state == "fulfilled"
    async with database.read() as session:
        [boost] = (await boosts_of(session, [ann], NOON))[ann]
    assert (boost.by, boost.start, boost.end, boost.rule) == (Fraction(2), NOON, NOON + 7 * DAY, None)
    with pytest.raises(Conflict):
        await end(database, row, Canceller.CUSTOMER)


# Races ---------------------------------------------------------------------------------------------------


async def test_fifty_customers_get_the_stock_that_there_is_and_no_more(database: Database) -> None:
    """wb-gamification 1.6.4: stock that fell to 0 sold without limit."""
    await publish_reward(database, stock=7)
    members = [await make_member(database, f"u-{n}", points=100) for n in range(50)]

    ended = await tried([asyncio.ensure_future(buy(database, who)) for who in members])

    assert ended == {"done": 7, "sold_out": 43}
    assert (await taken(database, "free-tea"), len(await redemptions_of(database))) == (7, 7)
    spent = [(await balance_of(database, who)).spent for who in members]
    assert Counter(spent) == {100: 7, 0: 43}


async def test_fifty_customers_get_fifty_codes_each_its_own(database: Database) -> None:
    """Spree's coupon_code.rb: two orders could both take one code of a batch."""
    await publish_reward(database, TENNER, codes="pool")
    async with database.transaction() as session:
        await coupons.load_codes(session, "tenner", [f"CODE-{n:03}" for n in range(40)])
    members = [await make_member(database, f"u-{n}", points=100) for n in range(50)]

    ended = await tried([asyncio.ensure_future(buy(database, who, "tenner")) for who in members])

    assert ended == {"done": 40, "no_codes_left": 10}
    rows = await redemptions_of(database)
    assert len({row.code for row in rows}) == 40
    owners = {made.code: made.customer_id for made in await coupons_of(database, "tenner")}
    assert {row.code: row.customer_id for row in rows} == owners


async def test_twenty_redemptions_of_one_customer_spend_the_points_once(database: Database) -> None:
    """fuint 71: simultaneous redemptions of one account overspent it."""
    await publish_reward(database)
    ann = await make_member(database, points=100)

    ended = await tried([asyncio.ensure_future(buy(database, ann)) for _ in range(20)])

    assert ended == {"done": 1, "insufficient_points": 19}
    assert await balance_of(database, ann) == Balance(spent=100, earned=100)


async def test_of_fulfilling_and_cancelling_at_once_one_wins(database: Database) -> None:
    await publish_reward(database, stock=10)
    for n in range(5):
        who = await make_member(database, f"u-{n}", points=100)
        row = await buy(database, who)

        both = [end(database, row), end(database, row, Canceller.CUSTOMER), end(database, row, Canceller.SHOP)]
        ended = await tried([asyncio.ensure_future(each) for each in both])

        assert ended == {"done": 1, "redemption_ended": 2}
        balance = await balance_of(database, who)
        is_fulfilled = (await redemptions_of(database))[-1].state == "fulfilled"
        assert (balance.available, balance.spent) == ((0, 100) if is_fulfilled else (100, 0))


# Ends ----------------------------------------------------------------------------------------------------


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


# Giving --------------------------------------------------------------------------------------------------


async def test_a_key_gives_once_whatever_happens_at_once(database: Database) -> None:
    await publish_reward(database, TENNER, stock=5, price=[])
    ann = await make_member(database)

    given = await asyncio.gather(*(gift(database, ann, "tenner", "referral/1/referrer") for _ in range(10)))

    assert all(isinstance(each, Given) for each in given)
    assert len({each.redemption_id for each in given if isinstance(each, Given)}) == 1
    assert Counter(each.repeated for each in given if isinstance(each, Given)) == {False: 1, True: 9}
    assert await taken(database, "tenner") == 1
    assert await balance_of(database, ann) == Balance()


async def test_a_gift_needs_no_points_no_eligibility_and_no_limit_but_stock(database: Database) -> None:
    never = {"if": {"trait": "club", "eq": "nobody"}}
    await publish_reward(database, stock=2, limit={"per_customer": 1}, eligible=never)
    ann = await make_member(database)

    outcomes = [await gift(database, ann, "free-tea", f"step/{n}") for n in range(3)]

    assert [isinstance(each, Given) for each in outcomes] == [True, True, False]
    assert outcomes[2] == NotGiven(Reason.SOLD_OUT)
    assert await gift(database, ann, "no-such", "step/9") == NotGiven("reward_not_found")


async def test_a_gift_does_not_count_against_what_the_customer_may_buy(database: Database) -> None:
    await publish_reward(database, limit={"per_customer": 1})
    ann = await make_member(database)
    await gift(database, ann, "free-tea", "step/1")
    await award(database, ann, 100)

    assert (await buy(database, ann)).state == RedemptionState.ISSUED
