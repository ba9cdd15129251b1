"""Moves of points over the real database, each with figures worked out by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from database import accounts, points
from database.guarantees import QUESTIONS, offenders
from database.session import Database
from domain.ids import new_id
from domain.points import (
    Balance,
    Capture,
    Clawback,
    Credit,
    CreditKind,
    Debit,
    DebitKind,
    Hold,
    Move,
    Moved,
    Refusal,
    Release,
    Restore,
    Transfer,
)
from tests.factories import NOON

MAIN = "main"
DAY = timedelta(days=1)


async def test_the_same_key_moves_once_and_answers_the_same(database: Database) -> None:
    ann = new_id()
    (first,) = await move(database, credit(ann, 100, "order-1"))
    await move(database, debit(ann, 30))

    (again,) = await move(database, credit(ann, 100, "order-1"))

    assert again.repeated
    assert (again.transaction_id, again.balance) == (first.transaction_id, first.balance)
    assert (await balance(database, ann)).available == 70


async def test_the_same_key_with_other_points_is_refused(database: Database) -> None:
    ann = new_id()
    await move(database, credit(ann, 100, "order-1"))

    (other,) = await move(database, credit(ann, 101, "order-1"))

    assert other.refusal is Refusal.KEY_REUSED
    assert (await balance(database, ann)).available == 100


async def test_pending_points_are_not_spendable_until_they_activate(database: Database) -> None:
    ann = new_id()
    await move(database, credit(ann, 100, "order-1", activates=NOON + DAY))

    (early,) = await move(database, debit(ann, 1, "early"))
    (later,) = await move(database, debit(ann, 60, "later"), as_of=NOON + DAY)

    assert early.refusal is Refusal.INSUFFICIENT
    assert (later.balance.available, later.balance.pending) == (40, 0)


async def test_a_hold_is_captured_in_part_and_the_rest_comes_back(database: Database) -> None:
    ann, hold = new_id(), new_id()
    await move(database, credit(ann, 100, "order-1"))
    await move(database, Hold(ann, "h", hold, 80, NOON + DAY, "reward"))

    (captured,) = await move(database, Capture(ann, "c", hold, 50))
    (twice,) = await move(database, Release(ann, "r", hold))

    assert (captured.balance.available, captured.balance.held, captured.balance.spent) == (50, 0, 50)
    assert twice.refusal is Refusal.HOLD_ENDED


async def test_a_hold_that_timed_out_gives_its_points_back(database: Database) -> None:
    ann, hold = new_id(), new_id()
    await move(database, credit(ann, 100, "order-1"))
    await move(database, Hold(ann, "h", hold, 80, NOON + DAY, "reward"))

    (late,) = await move(database, Capture(ann, "c", hold), as_of=NOON + DAY)

    assert late.refusal is Refusal.HOLD_EXPIRED
    assert (await balance(database, ann, NOON + DAY)) == Balance(available=100, earned=100)


async def test_a_return_while_points_are_pending_takes_the_pending_ones(database: Database) -> None:
    """Open Loyalty 3.x revoked nothing while points were locked, and unlocked them later (R2)."""
    ann = new_id()
    await move(database, credit(ann, 100, "order-1", activates=NOON + DAY), credit(ann, 5, "other"))

    (taken,) = await move(database, Clawback(ann, "refund-1", "order-1", 60))

    assert taken.balance == Balance(available=5, pending=40, earned=105, reversed=60)
    assert (await balance(database, ann, NOON + DAY)).available == 45


async def test_a_clawback_beyond_the_balance_is_owed_by_later_credits(database: Database) -> None:
    """Open Loyalty 3.x silently dropped what a clawback could not find (R1)."""
    ann = new_id()
    await move(database, credit(ann, 100, "order-1"), debit(ann, 90))

    (taken,) = await move(database, Clawback(ann, "refund-1", "order-1", 100))
    (spend,) = await move(database, debit(ann, 1, "more"))
    (later,) = await move(database, credit(ann, 120, "order-2"))

    assert taken.balance.available == -90
    assert spend.refusal is Refusal.INSUFFICIENT
    assert later.balance.available == 30
    assert sum(lot.remaining for lot in (await lots(database, ann)).lots) == 30


async def test_pending_points_settle_what_is_owed_when_they_become_available(database: Database) -> None:
    ann = new_id()
    await move(database, credit(ann, 100, "order-1"), debit(ann, 90), credit(ann, 60, "later", activates=NOON + DAY))

    (taken,) = await move(database, Clawback(ann, "refund-1", "order-1", 50))

    assert taken.balance == Balance(available=-40, pending=60, earned=160, spent=90, reversed=50)
    assert (await balance(database, ann, NOON + DAY)).available == 20
    assert [lot.remaining for lot in (await lots(database, ann, NOON + DAY)).lots] == [20]


async def test_seven_partial_returns_take_back_what_one_full_return_takes(database: Database) -> None:
    """Open Loyalty 3.x: 100 points on 7, returned in seven steps, revoked 100.03; two 60 % returns 120 % (R3)."""
    ann = new_id()
    await move(database, credit(ann, 100, "order-1"))

    taken = [await move(database, Clawback(ann, f"refund-{n}", "order-1", 100 * n // 7)) for n in range(1, 8)]
    (further,) = await move(database, Clawback(ann, "refund-8", "order-1", 120))

    assert [each.points for (each,) in taken] == [14, 14, 14, 15, 14, 14, 15]
    assert further.points == 0
    assert (await balance(database, ann)).available == 0


async def test_a_spending_is_given_back_once_however_many_ask_at_once(database: Database) -> None:
    """Voucherify rolled one redemption back twice in the same millisecond (R11)."""
    ann = new_id()
    await move(database, credit(ann, 100, "order-1"), debit(ann, 100, "reward"))

    outcomes = await asyncio.gather(*(move(database, Restore(ann, f"back-{n}", "reward")) for n in range(20)))

    assert sum(outcome.refusal is None for (outcome,) in outcomes) == 1
    assert (await balance(database, ann)).available == 100


async def test_one_key_at_once_from_fifty_sides_moves_once(database: Database) -> None:
    """formancehq/ledger 364: duplicates under concurrency, until a unique index on the key (R23)."""
    ann = new_id()

    outcomes = await asyncio.gather(*(move(database, credit(ann, 100, "order-1")) for _ in range(50)))

    assert len({outcome.transaction_id for (outcome,) in outcomes}) == 1
    assert sum(not outcome.repeated for (outcome,) in outcomes) == 1
    assert (await balance(database, ann)).available == 100


async def test_a_process_that_dies_after_its_commit_has_moved_once_when_it_asks_again(
    database: Database, database_url: str
) -> None:
    """The answer is lost between commit and caller; the same key gets it again."""
    ann = new_id()
    dying = Database(database_url, pool_size=1)
    async with dying.transaction() as session:
        (lost,) = await points.post(session, MAIN, [credit(ann, 100, "order-1")], NOON)
    async with dying.engine.connect() as connection:
        await connection.invalidate()  # the connection goes as it does with the process
    await dying.close()

    (again,) = await move(database, credit(ann, 100, "order-1"), as_of=NOON + DAY)

    assert (again.repeated, again.transaction_id, again.balance) == (True, lost.transaction_id, lost.balance)
    assert (await balance(database, ann)).available == 100


async def test_a_spending_waits_for_the_one_before_and_sees_what_it_left(database: Database) -> None:
    ann = new_id()
    await move(database, credit(ann, 100, "order-1"))

    second = await _spend_during_a_spending(database, ann)

    assert not isinstance(second, BaseException)
    assert second[0].refusal is Refusal.INSUFFICIENT


async def test_a_ledger_without_the_lock_fails_the_test_above(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It decides by a balance that is no longer so; the keys of the entries are the last line, and refuse it."""
    ann = new_id()
    await move(database, credit(ann, 100, "order-1"))
    monkeypatch.setattr(accounts, "_LOCK", accounts._READ)

    second = await _spend_during_a_spending(database, ann)

    assert isinstance(second, IntegrityError)


async def _spend_during_a_spending(database: Database, account: UUID) -> Sequence[Moved] | BaseException:
    async with database.transaction() as session:
        await points.post(session, MAIN, [debit(account, 100, "first")], NOON)
        second = asyncio.create_task(move(database, debit(account, 100, "second")))
        waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        async with asyncio.timeout(60):
            while not await session.scalar(waiting):
                await asyncio.sleep(0.01)
    (outcome,) = await asyncio.gather(second, return_exceptions=True)
    return outcome


async def test_expired_points_are_not_taken_back_a_second_time(database: Database) -> None:
    ann = new_id()
    await move(database, credit(ann, 100, "order-1", expires=NOON + DAY), debit(ann, 30))

    (taken,) = await move(database, Clawback(ann, "refund-1", "order-1", 100), as_of=NOON + DAY)

    assert taken.points == 30  # 70 lapsed
    assert taken.balance == Balance(available=-30, earned=100, spent=30, expired=70, reversed=30)


async def test_a_gift_passes_points_with_their_dates(database: Database) -> None:
    ann, bob = new_id(), new_id()
    await move(database, credit(ann, 100, "order-1", expires=NOON + DAY))

    await move(database, Transfer(ann, "gift", bob, 40, "gift"))

    assert (await balance(database, ann)).available == 60
    assert [(lot.remaining, lot.expires_at) for lot in (await lots(database, bob)).lots] == [(40, NOON + DAY)]


async def test_fifty_at_once_never_spend_more_than_there_is(database: Database) -> None:
    """fuint 71: twenty gifts at once out of a balance of 100 credited 2,000 (R10)."""
    ann, bob = new_id(), new_id()
    await move(database, credit(ann, 100, "order-1"))

    gifts = (move(database, Transfer(ann, f"gift-{n}", bob, 100, "gift")) for n in range(50))
    outcomes = [outcome for (outcome,) in await asyncio.gather(*gifts)]

    assert sum(outcome.refusal is None for outcome in outcomes) == 1
    assert (await balance(database, ann)).available == 0
    assert (await balance(database, bob)).available == 100


async def test_two_accounts_that_become_one_keep_every_point_and_date(database: Database) -> None:
    """odoo and mautic lost or doubled points when duplicates were merged (R17): 50 and 100 became 200, or 100."""
    ann, twin, hold = new_id(), new_id(), new_id()
    await move(database, credit(ann, 50, "order-1", expires=NOON + 9 * DAY))
    await move(
        database, credit(twin, 100, "order-2", expires=NOON + DAY), Hold(twin, "h", hold, 30, NOON + DAY, "gift")
    )

    async with database.transaction() as session:
        await points.merge_accounts(session, twin, ann, NOON)

    assert await balance(database, ann) == Balance(available=120, held=30, earned=150)
    assert await balance(database, twin) == Balance()
    (captured,) = await move(database, Capture(ann, "c", hold))
    (taken,) = await move(database, Clawback(ann, "refund", "order-2", 100))
    (again,) = await move(database, credit(ann, 100, "order-2"))
    assert captured.balance == Balance(available=120, spent=30, earned=150)
    assert taken.balance == Balance(available=20, spent=30, earned=150, reversed=100)
    assert again.repeated


async def test_a_deficit_passes_with_the_account(database: Database) -> None:
    ann, twin = new_id(), new_id()
    await move(database, credit(ann, 50, "order-1"))
    await move(database, credit(twin, 100, "order-2"), debit(twin, 80), Clawback(twin, "refund", "order-2", 100))

    async with database.transaction() as session:
        await points.merge_accounts(session, twin, ann, NOON)

    assert await balance(database, ann) == Balance(available=-30, spent=80, earned=150, reversed=100)
    assert (await lots(database, ann)).lots == []


@pytest.mark.parametrize(
    ("damage", "promise"),
    [
        ("UPDATE point_balances SET available = available + 1", "balances equal a replay of their entries"),
        ("UPDATE point_lots SET remaining = remaining - 1", "what is left of each lot equals a replay of its uses"),
        ("UPDATE point_holds SET state = 'captured', captured = 1", "every hold ends once, whole"),
    ],
)
async def test_the_doctor_finds_what_does_not_follow_from_the_entries(
    database: Database, damage: str, promise: str
) -> None:
    ann = new_id()
    await move(database, credit(ann, 100, "order-1"), Hold(ann, "h", new_id(), 30, NOON + DAY, "gift"))
    question = next(each for each in QUESTIONS if each.promise == promise)

    async with database.transaction() as session:
        before = await offenders(session, question, NOON)
        await session.execute(text(damage))
        after = await offenders(session, question, NOON)

    assert (len(before), len(after)) == (0, 1)


async def test_history_tells_every_move_the_latest_first(database: Database) -> None:
    ann = new_id()
    await move(database, credit(ann, 100, "order-1", expires=NOON + DAY))
    await move(database, debit(ann, 30))
    await move(database, credit(ann, 1, "order-2"), as_of=NOON + DAY)

    async with database.read() as session:
        rows = await points.history(session, MAIN, ann, limit=10)

    assert [(row.kind, row.points) for row in rows] == [("earn", 1), ("expire", 70), ("deduct", 30), ("earn", 100)]


def credit(
    account: UUID, amount: int, key: str, *, activates: datetime | None = None, expires: datetime | None = None
) -> Credit:
    return Credit(account, key, amount, CreditKind.EARN, NOON, "purchase", activates, expires)


def debit(account: UUID, amount: int, key: str = "spend") -> Debit:
    return Debit(account, key, amount, DebitKind.DEDUCT, "deduct")


async def move(database: Database, *moves: Move, as_of: datetime = NOON) -> Sequence[Moved]:
    async with database.transaction() as session:
        return await points.post(session, MAIN, moves, as_of)


async def balance(database: Database, account: UUID, as_of: datetime = NOON) -> Balance:
    async with database.read() as session:
        return (await points.balances(session, MAIN, [account], as_of))[account]


async def lots(database: Database, account: UUID, as_of: datetime = NOON) -> points.Holdings:
    async with database.read() as session:
        return await points.lots_of(session, MAIN, account, as_of)
