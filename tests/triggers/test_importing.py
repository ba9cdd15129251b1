"""Imports: what rows become, what is refused, and that repeating changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
import pytest
from sqlalchemy import select

from database import consent
from database.orders import Order
from database.products import Product
from database.social_posts import posts_between
from domain.imports import ImportFormat, ImportKind, lines_of
from tests.triggers.shop import Shop, abandoned_cart
from triggers.importing import ImportReport, import_rows

CUSTOMERS = b"""user_id,email,address.city,age:number,vip:boolean,consent.marketing,timestamp
u-1,Ann@Example.com,Rome,41,yes,subscribed,2025-01-02T03:04:05Z
u-2,bob@example.com,,not a number,no,,
,nobody@example.com,,,,,
u-3,"c,d@example.com",,,,maybe,
u-4,d@example.com,Oslo,,,unsubscribed,
"""
ORDERS = """{"order_id": 1, "user_id": "u-1", "completed_at": "2025-03-01", "total": 49.9, "refunded": 10}
{"order_id": "2", "user_id": "u-1", "completed_at": "2025-03-02", "total": "12.345", "state": "cancelled"}
not json
{"order_id": "3", "total": 1}
{"order_id": "4", "user_id": "u-1", "completed_at": "2025-03-02", "total": "a lot"}
"""


async def take(shop: Shop, kind: ImportKind, text: str | bytes, format_: ImportFormat) -> ImportReport:
    body = text.encode() if isinstance(text, str) else text
    report = await import_rows(shop.database, kind, lines_of(body), format_, as_of=shop.now)
    await shop.route()
    return report


async def test_customers_come_with_typed_nested_traits_and_consent_and_bad_rows_are_told(shop: Shop) -> None:
    report = await take(shop, ImportKind.CUSTOMERS, CUSTOMERS, ImportFormat.CSV)
    assert (report.rows, report.imported, report.refused) == (5, 2, 3)
    assert [(each.row, each.code) for each in report.problems] == [
        (2, "wrong_type"),
        (3, "user_id_missing"),
        (4, "consent_unknown"),
    ]
    ann = await shop.customer("u-1")
    assert ann.traits == {"email": "Ann@Example.com", "address": {"city": "Rome"}, "age": 41, "vip": True}
    assert ann.first_seen == datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
    async with shop.database.read() as session:
        [granted] = await consent.current(session, ann.id)
    assert (granted.purpose, granted.state, granted.source) == ("marketing", "subscribed", "import")


async def test_importing_a_file_again_changes_nothing(shop: Shop) -> None:
    await take(shop, ImportKind.CUSTOMERS, CUSTOMERS, ImportFormat.CSV)
    before = (await shop.customer("u-1")).last_number
    shop.later(days=1)
    again = await take(shop, ImportKind.CUSTOMERS, CUSTOMERS, ImportFormat.CSV)
    assert (again.imported, again.duplicates) == (0, 2)
    assert (await shop.customer("u-1")).last_number == before


async def test_a_file_that_goes_back_to_an_earlier_value_ends_with_it_however_often_it_comes(shop: Shop) -> None:
    text = "user_id,tier\nu-1,gold\nu-1,silver\nu-1,gold\n"
    first = await take(shop, ImportKind.CUSTOMERS, text, ImportFormat.CSV)
    assert (first.imported, (await shop.customer("u-1")).traits) == (3, {"tier": "gold"})
    again = await take(shop, ImportKind.CUSTOMERS, text, ImportFormat.CSV)
    assert (again.imported, again.duplicates) == (0, 3)
    assert (await shop.customer("u-1")).traits == {"tier": "gold"}


async def test_a_nightly_file_that_goes_back_to_an_earlier_value_ends_with_it(shop: Shop) -> None:
    nights = ["gold", "silver", "gold", "silver", "gold"]
    for tier in nights:
        text = f"user_id,tier,vip\nu-1,{tier},yes\nu-2,{tier},yes\n"
        report = await take(shop, ImportKind.CUSTOMERS, text, ImportFormat.CSV)
        assert (report.imported, (await shop.customer("u-1")).traits["tier"]) == (2, tier)
        again = await take(shop, ImportKind.CUSTOMERS, text, ImportFormat.CSV)
        assert (again.imported, again.duplicates) == (0, 2)
        shop.later(days=1)


async def test_a_nightly_file_goes_back_before_the_others_were_routed(shop: Shop) -> None:
    for tier in ("gold", "silver", "gold"):
        body = lines_of(f"user_id,tier\nu-1,{tier}\n".encode())
        await import_rows(shop.database, ImportKind.CUSTOMERS, body, ImportFormat.CSV, as_of=shop.now)
        shop.later(days=1)
    await shop.route()
    assert (await shop.customer("u-1")).traits == {"tier": "gold"}


async def test_a_file_of_yesterday_takes_back_no_word_but_that_of_another_file(shop: Shop) -> None:
    """What the shop's own system said since stays, and files about different traits do not disturb each other."""
    web, till = "user_id,tier\nu-1,gold\n", "user_id,city\nu-1,Rome\n"
    for expected in (1, 0, 0):
        told = [await take(shop, ImportKind.CUSTOMERS, text, ImportFormat.CSV) for text in (web, till)]
        assert [each.imported for each in told] == [expected, expected]
        shop.later(days=1)
    await shop.identify({"tier": "silver"})
    assert (await take(shop, ImportKind.CUSTOMERS, web, ImportFormat.CSV)).imported == 0
    assert (await shop.customer("u-1")).traits == {"tier": "silver", "city": "Rome"}


async def test_orders_come_with_what_became_of_them(shop: Shop) -> None:
    report = await take(shop, ImportKind.ORDERS, ORDERS, ImportFormat.JSON_LINES)
    assert [(each.row, each.code) for each in report.problems] == [
        (3, "json_malformed"),
        (4, "user_id_missing"),
        (5, "amount_malformed"),
    ]
    async with shop.database.read() as session:
        first, second = (await session.execute(select(Order).order_by(Order.order_id))).scalars().all()
    assert (first.state, first.total, first.refunded) == ("partially_refunded", 4990, 1000)
    assert first.completed_at == datetime(2025, 3, 1, tzinfo=UTC)
    assert (second.state, second.total) == ("cancelled", 1234)


async def test_a_currency_that_cannot_be_read_refuses_its_row_and_is_never_the_shops(shop: Shop) -> None:
    rows = [
        {"order_id": name, "user_id": "u-1", "total": 10, "currency": name, "completed_at": "2025-03-01"}
        for name in ("Euro", "US$", "$")
    ]
    body = "\n".join(orjson.dumps(row).decode() for row in rows)
    report = await take(shop, ImportKind.ORDERS, body, ImportFormat.JSON_LINES)
    assert [(each.row, each.code) for each in report.problems] == [(3, "currency_unknown")]
    async with shop.database.read() as session:
        found = (await session.execute(select(Order).order_by(Order.order_id))).scalars().all()
    assert [(each.order_id, each.currency) for each in found] == [("Euro", "EUR"), ("US$", "USD")]


async def test_products_fill_the_catalogue_and_a_browser_cannot_change_them(shop: Shop) -> None:
    await take(shop, ImportKind.PRODUCTS, "product_id,name,price\np-1,Tea,4.50\n", ImportFormat.CSV)
    await shop.track("Product Viewed", {"product_id": "p-1", "name": "Free tea!", "price": 0.01}, trusted=False)
    async with shop.database.read() as session:
        product = await session.get(Product, "p-1")
    assert product is not None
    assert (product.name, product.price, product.currency) == ("Tea", 450, "EUR")


async def test_imported_history_starts_no_journey(shop: Shop) -> None:
    await shop.publish(abandoned_cart(enter={"on": {"event": "Order Completed"}}, exit=[]))
    await take(shop, ImportKind.ORDERS, ORDERS, ImportFormat.JSON_LINES)
    assert await shop.runs() == []


async def test_an_order_of_the_past_does_not_end_todays_journey(shop: Shop) -> None:
    await shop.publish(abandoned_cart())
    await shop.track("Product Added", {"cart_id": "c-1"})
    await take(shop, ImportKind.ORDERS, ORDERS.splitlines()[0], ImportFormat.JSON_LINES)
    [run] = await shop.runs()
    assert run.state == "active"


POSTS = """network,post_id,posted_at,likes,comments,engagements,reach,measured_at
instagram,1,2026-04-01T09:00:00Z,20,5,,1000,2026-04-05
instagram,1,2026-04-01T09:00:00Z,1,1,,100,2026-04-02
tiktok,2,2026-04-02T09:00:00Z,,,7,,2026-04-05
,3,2026-04-02T09:00:00Z,,,7,,
instagram,4,,,,7,,
instagram,5,2026-04-02T09:00:00Z,,,,,
instagram,6,2026-04-02T09:00:00Z,3,,7,,
instagram,7,2026-04-02T09:00:00Z,many,,,,
"""


async def test_posts_come_with_their_figures_and_the_latest_measurement_counts(shop: Shop) -> None:
    report, again = [await take(shop, ImportKind.POSTS, POSTS, ImportFormat.CSV) for _ in range(2)]
    assert (report.rows, report.imported, report.refused) == (again.rows, again.imported, again.refused) == (8, 2, 5)
    assert [problem.code for problem in report.problems] == [
        *("post_id_missing", "time_missing", "engagements_missing", "engagements_missing", "count_malformed")
    ]
    later = '{"network": "tiktok", "post_id": "2", "posted_at": "2026-04-02", "figures": {"likes": 9}, "followers": 90}'
    await take(shop, ImportKind.POSTS, later, ImportFormat.JSON_LINES)

    async with shop.database.read() as session:
        posts = await posts_between(session, datetime(2026, 4, 1, tzinfo=UTC), shop.now, None)
    assert [(each.post_id, each.engagements, each.reach, each.followers) for each in posts] == [
        ("1", 25, 1_000, None),
        ("2", 9, None, 90),
    ]


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "10013-01-01", "soon"])
async def test_a_time_at_the_end_of_the_calendar_costs_no_other_row(shop: Shop, time: str) -> None:
    text = f"user_id,name,timestamp\nu-1,Ann,{time}\nu-2,Bob,2025-01-02\n"
    report = await take(shop, ImportKind.CUSTOMERS, text, ImportFormat.CSV)
    assert report.rows == 2
    assert {each.row for each in report.problems} <= {1}
    assert (await shop.customer("u-2")).traits == {"name": "Bob"}


async def test_a_count_of_thousands_of_digits_costs_no_other_post(shop: Shop) -> None:
    rows = [f"instagram,post-{likes[:3]},2026-05-01,{likes}" for likes in ("9" * 5_000, "120")]
    report = await take(shop, ImportKind.POSTS, "\n".join(["network,post_id,posted_at,likes", *rows]), ImportFormat.CSV)
    assert [(each.row, each.code) for each in report.problems] == [(1, "count_malformed")]
    assert report.imported == 1
