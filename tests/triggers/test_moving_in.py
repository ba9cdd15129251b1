"""Moving in: what members had in another programme is loaded from a file, each row once, and counts as not earned."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from database import points
from database.audit import AuditEntry
from database.events import Event
from database.point_figures import figures
from domain.imports import ImportFormat, ImportKind, lines_of
from perennial.doctor import examine
from tests.programmes import publish_programme, tiers
from tests.triggers.earning import BEGUN, PURCHASE, balance, buy, open_programme
from tests.triggers.shop import Shop
from tests.triggers.test_tiers import history, tier
from triggers.importing import ImportReport, import_rows

BERLIN = ZoneInfo("Europe/Berlin")
HEADER = "user_id,points,earned_at,activates_at,expires_at,reference,tier,tier_since,tier_until,tier_evidence\n"
FILE = f"""{HEADER}u-1,1200,2025-11-20,,2026-11-19,lot-1,gold,2025-11-20,2026-12-31,1250 points in 2025
u-1,300,2026-04-20T10:00:00Z,2026-06-01,never,lot-2,,,,
u-2,-50,,,,,silver,,,
u-3,,,,,,,,,
u-4,80,2024-01-01,,2025-01-01,old,,,,
u-5,10,,,,,,,,
u-1,1.5,,,,,,,,
u-4,20,,,,,platinum,,,
u-1,20,,,,lot-1,,,,
"""


async def load(shop: Shop, text: str = FILE, **given: Any) -> ImportReport:
    lines = lines_of(text.encode())
    return await import_rows(shop.database, ImportKind.LOYALTY, lines, ImportFormat.CSV, as_of=shop.now, **given)


@pytest.fixture
async def moving(shop: Shop) -> Shop:
    """A shop with a programme, and customers u-1 to u-4."""
    await publish_programme(shop.database, BEGUN, earn=[PURCHASE], expires={"after": "365d"})
    for number in range(1, 5):
        await shop.identify(user_id=f"u-{number}")
    return shop


async def test_lots_debts_and_tiers_are_loaded_with_their_dates_and_every_row_is_accounted_for(moving: Shop) -> None:
    report = await load(moving)

    assert (report.rows, report.imported, report.duplicates, report.refused) == (9, 3, 0, 6)
    assert [(each.row, each.code) for each in sorted(report.problems, key=lambda each: each.row)] == [
        *(
            (4, "nothing_stated"),
            (5, "lapsed"),
            (6, "customer_unknown"),
            (7, "points_malformed"),
            (8, "unknown_tier"),
            (9, "repeated"),
        ),
    ]
    ann, bob = await balance(moving), await balance(moving, "u-2")
    assert (ann.available, ann.pending, bob.available) == (1200, 300, -50)
    customer = await moving.customer()
    async with moving.database.read() as session:
        first, second = (await points.lots_of(session, "main", customer.id, moving.now)).lots
        moved = await points.history(session, "main", customer.id, before=None, limit=10)
    assert (first.earned_at, first.expires_at) == (
        datetime(2025, 11, 20, tzinfo=BERLIN),
        datetime(2026, 11, 20, tzinfo=BERLIN),  # a day that points expire on is theirs to its end
    )
    assert (second.activates_at, second.expires_at) == (datetime(2026, 6, 1, tzinfo=BERLIN), None)
    assert {each.kind for each in moved} == {"opening"}
    assert (await tier(moving), await tier(moving, "u-2")) == ("gold", "silver")
    assert [code for code, _ in report.totals.tiers.most_common()] == ["gold", "silver"]
    totals = report.totals
    assert (len(totals.members), totals.lots, totals.points, totals.pending, totals.owed) == (2, 2, 1500, 300, 50)


async def test_a_file_that_is_loaded_again_changes_nothing_and_says_so(moving: Shop) -> None:
    await load(moving)
    before = await balance(moving), await balance(moving, "u-2"), await history(moving)
    moving.later(days=1)

    again = await load(moving)

    assert (again.imported, again.duplicates, again.refused) == (0, 3, 6)
    assert (await balance(moving), await balance(moving, "u-2"), await history(moving)) == before
    moving.later(days=300)  # the first lot has lapsed by now, which is no reason to refuse its row
    assert (await load(moving)).duplicates == 3


async def test_a_dry_run_says_what_loading_says_and_keeps_nothing(moving: Shop) -> None:
    tried = await load(moving, only_tries=True)

    assert (await balance(moving)).available == 0
    assert await history(moving) == []
    async with moving.database.read() as session:
        assert (await session.scalars(select(AuditEntry))).all() == []
    assert await load(moving, by="key-1") == tried
    async with moving.database.read() as session:
        assert [(each.actor, each.action) for each in await session.scalars(select(AuditEntry))] == [
            ("key-1", "loyalty.move_in")
        ]


async def test_what_was_moved_in_is_used_as_any_points_are_and_debts_are_paid_off(moving: Shop) -> None:
    await load(moving)
    moving.later(days=30)
    await buy(moving, "o-1", 80, user_id="u-2")

    assert (await balance(moving, "u-2")).available == 30
    ann = await balance(moving)
    assert (ann.available, ann.pending) == (1500, 0)
    moving.later(days=200)
    assert (await balance(moving)).available == 300


async def test_doctor_and_what_is_outstanding_are_right_at_once(moving: Shop) -> None:
    await load(moving)

    verdicts = await examine(moving.database, moving.now, email_per_second=10, provider="outbox")

    assert [each for each in verdicts if each.offenders] == []
    async with moving.database.read() as session:
        found = await figures(session, "main", None, moving.now + timedelta(hours=1))
    assert (found.outstanding, found.expired) == (1450, 0)


async def test_nothing_of_it_is_earned_for_tiers_or_announced(shop: Shop) -> None:
    by_points = tiers({"points": "earned", "window": {"rolling": "12mo"}})
    await open_programme(shop, PURCHASE, tiers=by_points)
    await shop.identify()

    await load(shop, f"{HEADER}u-1,9000,,,,,silver,,,\n")
    await shop.route()

    assert await tier(shop) == "silver"
    async with shop.database.read() as session:
        told = (await session.scalars(select(Event.name).where(Event.own))).all()
    assert told == []


async def test_whoever_earns_a_higher_tier_than_was_moved_in_has_it(shop: Shop) -> None:
    by_points = tiers({"points": "earned", "window": {"rolling": "12mo"}})
    await open_programme(shop, PURCHASE, tiers=by_points)
    await shop.identify()
    until = shop.now + timedelta(days=60)
    await load(shop, f"{HEADER}u-1,,,,,,silver,2026-01-10,{until.date()},\n")
    assert await history(shop) == [("silver", "override")]

    await buy(shop, "o-1", 600)  # silver by own right: nothing changes
    assert await tier(shop) == "silver"
    shop.later(days=1)
    await buy(shop, "o-2", 2000)

    assert await history(shop) == [("silver", "override"), ("gold", "qualified")]
    shop.later(days=100)
    assert await tier(shop) == "gold"


async def test_a_tier_that_was_moved_in_ends_when_the_file_says_so(moving: Shop) -> None:
    await load(moving)
    moving.now = datetime(2026, 12, 31, 22, 59, tzinfo=UTC)  # a minute before the year ends in Berlin
    assert await tier(moving) == "gold"
    moving.later(minutes=1)
    assert await tier(moving) == "bronze"


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("u-1,1201,2025-11-20,,2026-11-19,lot-1,,,,", "already_loaded"),
        ("u-1,,,,,,silver,,,", "already_loaded"),
        ("u-1,5,2027-01-01,,,,,,,", "time_out_of_range"),
        ("u-1,5,2025-01-01,,2024-01-01,,,,,", "dates_conflict"),
        ("u-1,5,soon,,,,,,,", "time_malformed"),
        ("u-1,5,0001-01-01,,,,,,,", "time_out_of_range"),
        ("u-1,5,,9999-12-31,,,,,,", "time_out_of_range"),
        ("u-1,99999999999,,,,,,,,", "points_malformed"),
        ("u-1,,,,,,,2025-01-01,,", "tier_missing"),
        ("u-1,-5,,,2027-01-01,,,,,", "dates_without_points"),
        (",5,,,,,,,,", "user_id_missing"),
        ("u-1,,2025-11-20,,,,,,,", "nothing_stated"),
    ],
)
async def test_a_row_that_cannot_be_right_is_refused_with_its_reason(moving: Shop, row: str, code: str) -> None:
    await load(moving)
    before = await balance(moving)
    report = await load(moving, HEADER + row)
    assert [each.code for each in report.problems] == [code]
    assert await balance(moving) == before


async def test_a_column_that_is_not_known_is_not_passed_over(moving: Shop) -> None:
    report = await load(moving, "user_id,points,expire_at\nu-1,5,2027-01-01\n")
    assert [(each.code, "expire_at" in each.message) for each in report.problems] == [("column_unknown", True)]


async def test_without_a_live_programme_each_row_is_refused(shop: Shop) -> None:
    report = await load(shop)
    assert {each.code for each in report.problems} >= {"no_programme"}
    assert (report.imported, report.refused) == (0, 9)


async def test_a_thousand_members_load_with_one_lot_each(moving: Shop) -> None:
    await moving.post(*(moving.event("Came", user_id=f"m-{number}") for number in range(1_000)))
    await moving.route()
    rows = "".join(f"m-{number},{number + 1},,,,,,,,\n" for number in range(1_000))

    report = await load(moving, HEADER + rows)

    assert (report.imported, report.totals.points, report.totals.lots) == (1_000, 500_500, 1_000)
    assert (await balance(moving, "m-999")).available == 1_000
