"""Lots: which are used first, which come back, and when they lapse, each with figures worked out by hand."""

from __future__ import annotations

from database import accounts
from database.session import Database
from domain.ids import new_id
from domain.points import Balance, Capture, Hold, Refusal, Release, Restore
from tests.database.test_points import DAY, MAIN, balance, credit, debit, lots, move
from tests.factories import NOON


async def test_a_debit_takes_the_lot_that_expires_first(database: Database) -> None:
    ann = new_id()
    await move(database, credit(ann, 100, "late", expires=NOON + 30 * DAY), credit(ann, 50, "soon", expires=NOON + DAY))

    spent = await move(database, debit(ann, 70))

    holdings = await lots(database, ann)
    assert spent[0].balance.available == 80
    assert [(lot.original, lot.remaining) for lot in holdings.lots] == [(100, 80)]


async def test_a_smaller_capture_spends_what_lapses_first_and_a_smaller_restore_gives_back_what_lapses_last(
    database: Database,
) -> None:
    ann, hold = new_id(), new_id()
    await move(database, credit(ann, 50, "late", expires=NOON + 9 * DAY), credit(ann, 50, "soon", expires=NOON + DAY))
    await move(database, Hold(ann, "h", hold, 100, NOON + 2 * DAY, "reward"))

    await move(database, Capture(ann, "c", hold, 70))
    captured = (await lots(database, ann)).lots
    await move(database, Restore(ann, "back", "c", 30))
    restored = (await lots(database, ann)).lots

    assert [(lot.remaining, lot.expires_at) for lot in captured] == [(30, NOON + 9 * DAY)]
    assert [(lot.remaining, lot.expires_at) for lot in restored] == [(10, NOON + DAY), (50, NOON + 9 * DAY)]


async def test_a_move_reads_the_lots_that_it_takes_and_the_next_and_knows_when_that_falls_due(
    database: Database,
) -> None:
    ann = new_id()
    await move(database, *(credit(ann, 1, f"lot-{n}", expires=NOON + n * DAY) for n in range(1, 9)))
    spending = debit(ann, 2)

    async with database.transaction() as session:
        book = await accounts.load(session, MAIN, [ann], NOON, [spending], lock=True)
    await move(database, spending)
    async with database.read() as session:
        settled = await accounts.load(session, MAIN, [ann], NOON, lock=False)

    assert [lot.expires_at for lot in book.accounts[ann].usable()] == [NOON + n * DAY for n in (1, 2, 3)]
    assert settled.accounts[ann].next_due() == NOON + 3 * DAY
    assert (await balance(database, ann, NOON + 8 * DAY)) == Balance(earned=8, spent=2, expired=6)


async def test_points_held_beyond_their_expiry_lapse_when_released(database: Database) -> None:
    ann, hold = new_id(), new_id()
    await move(database, credit(ann, 100, "order-1", expires=NOON + DAY))
    await move(database, Hold(ann, "h", hold, 80, NOON + 9 * DAY, "reward"))

    (released,) = await move(database, Release(ann, "r", hold), as_of=NOON + 2 * DAY)

    assert released.balance == Balance(available=0, held=0, expired=100, earned=100)


async def test_points_whose_hold_times_out_lapse_later_although_nobody_came_by_in_between(database: Database) -> None:
    ann = new_id()
    await move(database, credit(ann, 100, "order-1", expires=NOON + 2 * DAY))
    await move(database, Hold(ann, "h", new_id(), 100, NOON + DAY, "reward"))

    assert await balance(database, ann, NOON + 3 * DAY) == Balance(expired=100, earned=100)


async def test_a_failed_fulfilment_gives_lapsed_points_back_for_a_while(database: Database) -> None:
    ann, hold = new_id(), new_id()
    await move(database, credit(ann, 100, "order-1", expires=NOON + DAY))
    await move(database, Hold(ann, "h", hold, 80, NOON + 9 * DAY, "reward"))

    until = NOON + 32 * DAY
    (released,) = await move(database, Release(ann, "r", hold, restore_until=until), as_of=NOON + 2 * DAY)

    assert released.balance == Balance(available=80, expired=20, earned=100)
    assert [(lot.remaining, lot.expires_at) for lot in (await lots(database, ann)).lots] == [(80, until)]


async def test_points_never_lapse_under_who_holds_or_has_used_them(database: Database) -> None:
    """FloCafe 78: expired credits left the sum while the debits that had used them stayed (R7)."""
    ann, hold = new_id(), new_id()
    await move(database, credit(ann, 100, "order-1", expires=NOON + DAY), debit(ann, 30))
    await move(database, Hold(ann, "h", hold, 50, NOON + 9 * DAY, "gift"))

    assert await balance(database, ann, NOON + 2 * DAY) == Balance(held=50, spent=30, expired=20, earned=100)
    (captured,) = await move(database, Capture(ann, "c", hold), as_of=NOON + 2 * DAY)
    assert captured.balance == Balance(spent=80, expired=20, earned=100)


async def test_a_rolled_back_redemption_keeps_the_dates_of_its_lots(database: Database) -> None:
    """Setono and Lago give back points without their expiry, which then never lapse (R5)."""
    ann = new_id()
    await move(database, credit(ann, 100, "order-1", expires=NOON + 9 * DAY), debit(ann, 100, "reward"))

    await move(database, Restore(ann, "back", "reward"), as_of=NOON + DAY)
    (again,) = await move(database, Restore(ann, "back-2", "reward"), as_of=NOON + DAY)

    assert again.refusal is Refusal.NOTHING_LEFT
    assert [(lot.remaining, lot.expires_at) for lot in (await lots(database, ann)).lots] == [(100, NOON + 9 * DAY)]
    assert (await balance(database, ann, NOON + 9 * DAY)) == Balance(earned=100, expired=100)


async def test_points_that_lapsed_cannot_be_spent_before_any_job_has_run(database: Database) -> None:
    """Setono lets lapsed points be spent until its sweeper has come by (R6)."""
    ann = new_id()
    await move(database, credit(ann, 100, "order-1", expires=NOON + DAY))

    (spend,) = await move(database, debit(ann, 1), as_of=NOON + 7 * DAY)

    assert spend.refusal is Refusal.INSUFFICIENT
    assert (await balance(database, ann, NOON + 7 * DAY)).expired == 100
