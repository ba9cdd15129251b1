"""Imported history under a programme that says `history_from`: it counts when it happened, however long ago that is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

import orjson
import pytest

from database.point_figures import figures
from domain.imports import ImportFormat, ImportKind
from domain.points import Balance
from tests.programmes import publish_programme
from tests.triggers.earning import PURCHASE, balance, bought, buy, decided, open_programme
from tests.triggers.shop import Shop
from tests.triggers.test_importing import take
from tests.triggers.test_late_earning import BY_SPEND
from tests.triggers.test_tiers import history, tier

RISING = {
    "measure": {"points": "earned", "window": {"rolling": "12mo"}},
    "levels": [{"tier": "bronze", "from": 0}, {"tier": "gold", "from": 100, "multiply": 2}],
}
MONTHLY = {
    **PURCHASE,
    "limit": {"per_customer": 150, "per": "1mo"},
    "expires": {"after": "365d", "round": "end_of_month"},
}
YEAR = {"2025-01-10": 60, "2025-01-20": 60, "2025-02-05": 60, "2025-02-07": 60, "2025-06-01": 10}
"""What an order of each day came to: two to reach gold, two for which February has no room, and one more."""


async def bring(shop: Shop, orders: dict[str, int]) -> None:
    rows = [
        {"order_id": day, "user_id": "u-1", "subtotal": paid, "total": paid, "currency": "EUR", "completed_at": day}
        for day, paid in orders.items()
    ]
    report = await take(shop, ImportKind.ORDERS, b"\n".join(map(orjson.dumps, rows)), ImportFormat.JSON_LINES)
    assert report.refused == 0


async def earned(shop: Shop) -> list[tuple[str, int, str | None]]:
    return [(f"{each.at:%Y-%m-%d}", each.points, each.tier) for each in await decided(shop)]


async def test_a_year_of_imported_orders_gives_each_month_its_own_limit_expiry_and_tier(shop: Shop) -> None:
    await open_programme(shop, MONTHLY, tiers=RISING, history_from="2025-01-01")

    await bring(shop, YEAR)

    assert await earned(shop) == [
        *(("2025-01-10", 60, "bronze"), ("2025-01-20", 60, "bronze")),
        *(("2025-02-05", 120, "gold"), ("2025-02-07", 30, "gold"), ("2025-06-01", 20, "gold")),
    ]
    assert (await balance(shop)).available == 20  # only what June earned lives until the end of next June
    assert await history(shop) == [("gold", "qualified")]
    assert await tier(shop, at=datetime(2025, 1, 15, tzinfo=UTC)) == "bronze"


async def test_points_that_had_lapsed_before_they_came_in_make_no_hour_of_the_past_owe_less_than_nothing(
    shop: Shop,
) -> None:
    await open_programme(shop, MONTHLY, tiers=RISING, history_from="2025-01-01")

    await bring(shop, YEAR)

    async with shop.database.read() as session:
        lapsed = await figures(session, "main", None, datetime(2026, 3, 2, tzinfo=UTC))
        today = await figures(session, "main", None, shop.now + timedelta(hours=1))
    assert lapsed.outstanding == 0
    assert (today.issued, today.expired, today.outstanding) == (290, 270, 20)


@pytest.mark.parametrize("seed", range(6))
async def test_past_and_present_earn_the_same_in_every_order_of_arrival(shop: Shop, seed: int) -> None:
    """Also an order of today, which the tier of last year doubles."""
    await open_programme(shop, MONTHLY, tiers=RISING, history_from="2025-01-01")
    days = [*YEAR, "today"]
    Random(seed).shuffle(days)

    for day in days:
        if day == "today":
            await buy(shop, "o-1", 10)
        else:
            await bring(shop, {day: YEAR[day]})

    assert [points for _, points, _ in await earned(shop)] == [60, 60, 120, 30, 20, 20]
    assert (await balance(shop)).available == 40


async def test_a_file_that_comes_again_earns_nothing_more(shop: Shop) -> None:
    await open_programme(shop, MONTHLY, tiers=RISING, history_from="2025-01-01")
    await bring(shop, YEAR)
    before = await balance(shop)

    await bring(shop, YEAR)
    await buy(shop, "2025-06-01", 10)  # the shop tells of an order that it has imported

    assert await balance(shop) == before


async def test_an_order_of_1997_stays_in_1997(shop: Shop) -> None:
    await open_programme(shop, MONTHLY, history_from="1997-01-01")

    await bring(shop, {"1997-03-09": 25})

    [decision] = await decided(shop)
    assert (decision.at, decision.is_late) == (datetime(1997, 3, 9, tzinfo=UTC), False)
    held = await balance(shop)
    assert (decision.points, held.available, held.expired) == (25, 0, 25)


async def test_what_is_older_than_the_first_day_counts_for_tiers_and_never_for_points(shop: Shop) -> None:
    await open_programme(shop, {**PURCHASE, "imports": True}, tiers=BY_SPEND, history_from="2026-01-01")

    await bring(shop, {"2025-12-31": 30, "2026-01-01": 5})

    assert await earned(shop) == [("2026-01-01", 10, "gold")]
    assert await tier(shop) == "gold"


async def test_what_a_rule_should_have_paid_less_of_was_never_earned_though_it_has_lapsed(shop: Shop) -> None:
    lapsing = {"after": "365d", "round": "end_of_month"}
    limited = {**PURCHASE, "limit": {"per_customer": 100, "per": "1mo"}, "expires": lapsing}
    await open_programme(shop, limited, history_from="1997-01-01")

    await bring(shop, {"1997-03-20": 65})
    await bring(shop, {"1997-03-14": 60})

    assert await balance(shop) == Balance(earned=100, expired=100)


async def test_a_rule_can_leave_history_out(shop: Shop) -> None:
    bonus = {**PURCHASE, "rule": "bonus", "imports": False}
    await open_programme(shop, PURCHASE, bonus, history_from="2025-01-01")

    await bring(shop, {"2025-03-01": 30})

    assert [(each.rule, each.points) for each in await decided(shop)] == [("purchase", 30)]


async def test_the_version_that_lets_history_in_decides_about_it_and_goes_on_to_when_it_is_decided_again(
    shop: Shop,
) -> None:
    await open_programme(shop)
    published = {"tiers": None, "history_from": "2025-01-01"}
    doubled, ninefold = ({**PURCHASE, "multiply": [{"by": by}]} for by in (2, 9))
    await publish_programme(shop.database, shop.now, earn=[doubled], **published)
    await bring(shop, {"2025-03-02": 10, "2026-03-01": 10})  # the second: while the first version was live
    await publish_programme(shop.database, shop.now, earn=[ninefold], **published)

    await bring(shop, {"2025-03-01": 10})

    assert [(each.version, each.points) for each in await decided(shop)] == [(3, 90), (2, 20), (2, 20)]


async def test_history_of_a_guest_counts_when_it_happened_once_we_know_who_it_was(shop: Shop) -> None:
    await open_programme(shop, MONTHLY, history_from="2025-01-01")
    then = datetime(2025, 3, 1, tzinfo=UTC)
    await shop.post(bought(shop, "o-1", 10, anonymous_id="a-1", is_history=True, timestamp=then))
    await shop.route()

    await shop.identify(user_id="u-1", anonymous_id="a-1")

    assert [(each.at, each.points) for each in await decided(shop)] == [(then, 10)]
