"""Redeeming over the real database: all or nothing, also when fifty want the last one (invariant 9)."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from fractions import Fraction

import pytest
from sqlalchemy import Select, select, text
from sqlalchemy.dialects.postgresql import insert

from database import coupons, customers, redemptions
from database.events import Event
from database.outbox import Command
from database.point_boosts import boosts_of
from database.redeeming import offers, redeem
from database.rewards import RewardStock, live_rewards, taken_of
from database.session import Database, WriteSession
from domain.documents import DocumentState
from domain.errors import Conflict, NotFound
from domain.points import Balance
from domain.redemptions import RESERVED_FOR, Canceller, Given, NotGiven, RedemptionState
from domain.rewards import Reason, RewardDefinition
from tests.factories import NOON
from tests.rewarding import (
    DAY,
    DELIVERED,
    TEA,
    TENNER,
    award,
    balance_of,
    buy,
    coupon,
    coupons_of,
    end,
    gift,
    make_member,
    publish,
    publish_programme,
    publish_reward,
    redemptions_of,
    taken,
    tried,
)


@pytest.fixture(autouse=True)
async def programme(database: Database) -> None:
    await publish_programme(database, restore_grace="30d")


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


async def test_a_limit_counts_what_was_kept_in_a_month_of_the_programmes_zone(database: Database) -> None:
    """Half past ten in the evening of 31 May is June in Berlin, and May where the shop is."""
    await publish_programme(database, zone="Europe/Berlin")
    await publish_reward(database, limit={"per_customer": 1, "per": "1mo"})
    in_may, in_june = datetime(2026, 5, 31, 21, 30, tzinfo=UTC), datetime(2026, 5, 31, 22, 30, tzinfo=UTC)
    ann = await make_member(database)
    await award(database, ann, 500, at=in_may)
    kept = await buy(database, ann, at=in_may)
    with pytest.raises(Conflict) as refused:
        await buy(database, ann, at=in_may)
    assert refused.value.code == "limit_reached"

    assert (await buy(database, ann, at=in_june)).state == "issued"
    await end(database, kept, Canceller.CUSTOMER, at=in_may)
    assert (await buy(database, ann, at=in_may)).state == "issued"


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


async def test_the_last_one_is_waited_for_and_each_code_is_given_to_one(database: Database) -> None:
    assert await _bought_during_a_purchase(database) == "sold_out"
    assert await _codes_for_two_at_once(database) == ["ONE", "TWO"]


async def test_copies_of_the_code_without_its_locks_fail_the_test_above(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stock that is read and then written is sold twice; a code that nobody locks gets two owners."""
    monkeypatch.setattr(redemptions, "take_from_stock", _take_what_seems_to_be_there)
    monkeypatch.setattr(Select, "with_for_update", lambda self, **_: self)

    assert await _bought_during_a_purchase(database) == "done"
    assert await _codes_for_two_at_once(database) == ["ONE", "ONE"]


async def _bought_during_a_purchase(database: Database) -> str:
    """How it ends for who wants the last one while somebody else is buying it."""
    await publish_reward(database, stock=1)
    ann, bob = [await make_member(database, who, points=100) for who in ("ann", "bob")]
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    async with database.transaction() as session:
        await redeem(session, ann, "free-tea", NOON)
        second = asyncio.ensure_future(buy(database, bob))
        async with asyncio.timeout(60):
            while not second.done() and not await session.scalar(waiting):
                await asyncio.sleep(0.01)
    return next(iter(await tried([second])))


async def _codes_for_two_at_once(database: Database) -> list[str | None]:
    async with database.transaction() as session:
        await coupons.load_codes(session, "tenner", ["ONE", "TWO"])
    async with database.transaction() as one, database.transaction() as other:
        return [await coupons.take_pooled(session, "tenner") for session in (one, other)]


async def _take_what_seems_to_be_there(session: WriteSession, reward: RewardDefinition) -> bool:
    """As `take_from_stock` would be in two statements."""
    found = (await taken_of(session, [reward.reward])).get(reward.reward, 0)
    one_more = insert(RewardStock).values(reward=reward.reward, taken=found + 1)
    await session.execute(one_more.on_conflict_do_update(index_elements=["reward"], set_={"taken": found + 1}))
    return reward.stock is None or found < reward.stock


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
