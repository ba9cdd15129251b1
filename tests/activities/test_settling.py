"""The time jobs of the programme: everything that is due, once, whoever else is busy with the same customers."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select, text
from temporalio.testing import ActivityEnvironment

from activities.settling import Settled, SettlingActivities, SettlingStep
from database import documents, points
from database.customers import lock
from database.events import Event
from database.session import Database
from database.settling import DueAccount, settle_accounts
from database.tier_weighing import weigh
from database.tiers import TierMembership, ladder_of
from domain.documents import DocumentState
from domain.ids import new_id
from domain.points import Balance, Credit, CreditKind, Hold, Move
from tests.factories import NOON, make_customer

MAIN = "main"
DAY = timedelta(days=1)


async def test_the_job_activates_times_out_and_expires_everywhere(database: Database) -> None:
    ann, bob = await make_customer(database, "ann"), await make_customer(database, "bob")
    await move(database, credit(ann, 100, "a", activates=NOON + DAY, expires=NOON + 9 * DAY))
    await move(database, credit(bob, 50, "b", expires=NOON + 2 * DAY), Hold(bob, "h", new_id(), 20, NOON + DAY, "x"))

    first = await settle(database, NOON + DAY)
    second = await settle(database, NOON + 2 * DAY)
    third = await settle(database, NOON + 2 * DAY)

    assert (first.count, second.count, third.count) == (2, 1, 0)
    assert await stored(database, ann) == Balance(available=100, earned=100)
    assert await stored(database, bob) == Balance(expired=50, earned=50)


async def test_what_was_due_takes_effect_when_it_was_due(database: Database) -> None:
    ann = await make_customer(database, "ann")
    await move(database, credit(ann, 100, "a", activates=NOON + DAY, expires=NOON + 2 * DAY))

    await settle(database, NOON + 30 * DAY)

    async with database.read() as session:
        rows = await points.history(session, MAIN, ann, limit=10)
    assert [(row.kind, row.at) for row in rows] == [
        ("expire", NOON + 2 * DAY),
        ("activate", NOON + DAY),
        ("earn", NOON),
    ]


async def test_jobs_and_moves_at_once_expire_each_lot_once(database: Database) -> None:
    people = [await make_customer(database, f"u-{number}") for number in range(20)]
    await move(database, *(credit(one, 100, str(one), expires=NOON + DAY) for one in people))

    jobs = [settle(database, NOON + DAY) for _ in range(3)]
    moves = [move(database, credit(one, 1, f"more/{one}"), as_of=NOON + DAY) for one in people]
    await asyncio.gather(*jobs, *moves)

    for one in people:
        assert await stored(database, one) == Balance(available=1, earned=101, expired=100)


async def test_a_customer_who_is_busy_does_not_hold_up_the_others(database: Database) -> None:
    ann, bob = await make_customer(database, "ann"), await make_customer(database, "bob")
    await move(database, credit(ann, 100, "a", expires=NOON + DAY), credit(bob, 100, "b", expires=NOON + DAY))

    async with database.transaction() as session:
        await lock(session, [ann])
        job = asyncio.create_task(settle(database, NOON + DAY))
        while (await stored(database, bob)).expired == 0:
            await asyncio.sleep(0.01)
        assert not job.done()
    await job

    assert (await stored(database, ann)).expired == 100


async def test_customers_are_warned_once_before_points_expire(database: Database) -> None:
    await publish(database, warn=["7d"])
    ann = await make_customer(database, "ann")
    await move(database, credit(ann, 60, "a", expires=NOON + 7 * DAY), credit(ann, 40, "b", expires=NOON + 7 * DAY))
    await move(database, credit(ann, 5, "c", expires=NOON + 9 * DAY))
    step = SettlingStep(since=NOON - DAY, as_of=NOON)

    done = [await ActivityEnvironment().run(SettlingActivities(database).warn_of_expiry, step) for _ in range(2)]

    assert [each.count for each in done] == [1, 0]
    async with database.read() as session:
        (event,) = (await session.scalars(select(Event).where(Event.name == "Points Expiring"))).all()
    assert (event.user_id, event.properties["points"]) == ("ann", 100)
    assert datetime.fromisoformat(event.properties["at"]) == NOON + 7 * DAY


async def test_points_that_come_within_a_warning_while_temporal_was_away_are_told_of_afterwards(
    database: Database,
) -> None:
    await publish(database, warn=["7d"])
    ann = await make_customer(database, "ann")
    await move(database, credit(ann, 60, "a", expires=NOON + 9 * DAY))
    warn, hour = SettlingActivities(database).warn_of_expiry, timedelta(hours=1)

    first = await ActivityEnvironment().run(warn, SettlingStep(since=NOON - hour, as_of=NOON))
    # Three days later a Temporal that knows of no pass before begins with the last hour.
    later = await ActivityEnvironment().run(warn, SettlingStep(since=NOON + 3 * DAY - hour, as_of=NOON + 3 * DAY))

    assert (first.count, later.count) == (0, 1)


async def test_tiers_close_alike_before_and_after_points_have_expired_and_activated(database: Database) -> None:
    """Decision 0011: a twin is settled only after the period has closed."""
    measure = {"points": "earned", "window": {"rolling": "12mo"}}
    await publish(database, tiers={"measure": measure, "levels": LEVELS, "downgrade": {"grace": "30d"}})
    twins = [await make_customer(database, name) for name in ("ann", "twin")]
    for one in twins:
        await move(database, credit(one, 500, f"a/{one}", expires=NOON + 366 * DAY))
        await move(database, credit(one, 100, f"b/{one}", activates=NOON + 399 * DAY))
    activities, then = SettlingActivities(database), NOON + 400 * DAY
    close = activities.close_tier_periods
    async with database.transaction() as session:
        ladder = await ladder_of(session)
        assert ladder is not None
        await weigh(session, ladder, twins, NOON + DAY)

    await settle_alone(database, twins[0], then)
    await ActivityEnvironment().run(close, SettlingStep(since=NOON + DAY, as_of=then))
    await settle_alone(database, twins[1], then)

    first, second = [await tiers_of(database, one) for one in twins]
    assert first == second
    assert [tier for tier, _, _ in first] == ["silver", "bronze"]
    for one in twins:
        assert await stored(database, one) == Balance(available=100, earned=600, expired=500)


LEVELS = [{"tier": "bronze", "from": 0}, {"tier": "silver", "from": 500}]


async def settle_alone(database: Database, account: UUID, as_of: datetime) -> None:
    async with database.transaction() as session:
        await settle_accounts(session, [DueAccount(as_of, MAIN, account)], as_of)


async def tiers_of(database: Database, customer_id: UUID) -> list[tuple[str | None, datetime, str]]:
    statement = select(TierMembership).where(TierMembership.customer_id == customer_id).order_by(TierMembership.from_at)
    async with database.read() as session:
        return [(row.tier, row.from_at, row.reason) for row in await session.scalars(statement)]


def credit(
    account: UUID, amount: int, key: str, *, activates: datetime | None = None, expires: datetime | None = None
) -> Credit:
    return Credit(account, key, amount, CreditKind.EARN, NOON, "purchase", activates, expires)


async def move(database: Database, *moves: Move, as_of: datetime = NOON) -> None:
    async with database.transaction() as session:
        await points.post(session, MAIN, moves, as_of)


async def settle(database: Database, as_of: datetime) -> Settled:
    step = SettlingStep(since=as_of - DAY, as_of=as_of)
    return await ActivityEnvironment().run(SettlingActivities(database).settle_accounts, step)


async def stored(database: Database, account: UUID) -> Balance:
    """The cached balance, as nobody has settled it since."""
    statement = text("""
        SELECT available, pending, held, -issued AS earned, redeemed AS spent, expired, reversed
        FROM point_balances WHERE account = :account
    """)
    async with database.read() as session:
        return Balance(**(await session.execute(statement, {"account": account})).mappings().one())


async def publish(database: Database, **members: object) -> None:
    document = {"programme": MAIN, "zone": "Europe/Berlin", "earn": [], **members}
    async with database.transaction() as session:
        row = await documents.save_draft(session, "programme", MAIN, document, NOON)
        await documents.add_version(session, row, document=document, state=DocumentState.LIVE, as_of=NOON, by="tests")
