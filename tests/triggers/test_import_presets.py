"""Exports of Shopify and WooCommerce, read as they come; whose their rows are that name no customer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from database import consent
from database.orders import Order
from domain.import_presets import Preset
from domain.imports import ImportFormat, ImportKind, lines_of
from tests.triggers.shop import Shop
from triggers.importing import ImportReport, import_rows

SHOPIFY_CUSTOMERS = """\
Customer ID,First Name,Last Name,Email,Accepts Email Marketing,Default Address City,Default Address Zip,Phone,Tags
'8123,Ann,Meyer,Ann@Example.com,yes,Utrecht,'1234AB,'+31612345678,"vip, tea"
'8124,Bob,,bob@example.com,no,,,,
"""
SHOPIFY_ORDERS = """\
Name,Email,Financial Status,Paid at,Currency,Subtotal,Shipping,Taxes,Total,Discount Amount,Created at,\
Lineitem quantity,Lineitem name,Lineitem price,Lineitem sku,Cancelled at,Refunded Amount,Id,Tax 1: Name
#1001,ann@example.com,paid,2025-03-01 00:15:00 +0100,EUR,47.00,6.00,3.29,56.29,5.00,2025-02-28 23:14:00 +0100,\
2,Fern,16.00,FERN-1,,0.00,5550001,VAT
#1001,ann@example.com,,,,,,,,,2025-02-28 23:14:00 +0100,1,Tote,20.00,TOTE-1,,,,
#1002,ann@example.com,partially_refunded,2025-04-01 10:00:00 +0200,EUR,30.00,0.00,0.00,30.00,0.00,\
2025-04-01 10:00:00 +0200,1,Fern,30.00,FERN-1,,10.00,5550002,
#1003,ann@example.com,refunded,2025-05-01 10:00:00 +0200,EUR,30.00,0.00,0.00,30.00,0.00,2025-05-01 10:00:00 +0200,\
1,Fern,30.00,FERN-1,2025-05-02 10:00:00 +0200,30.00,5550003,
#1004,guest@example.com,pending,,EUR,30.00,0.00,0.00,30.00,0.00,2025-05-01 10:00:00 +0200,1,Fern,30.00,,,0.00,5550004,
#1005,Guest@example.com,paid,2025-05-01 10:00:00 +0200,EUR,30.00,0.00,0.00,30.00,0.00,2025-05-01 10:00:00 +0200,\
1,Fern,30.00,,,0.00,5550005,
"""
WOO_CUSTOMERS = """\
ID,user_login,user_email,user_pass,user_registered,first_name,last_name,billing_phone,billing_city,meta:wpml_language
7,ann,ann@example.com,$P$secret,2024-07-01 10:00:00,Ann,Meyer,030 1,Berlin,de
"""
WOO_ORDERS = """\
order_id,order_number,order_date,paid_date,status,shipping_total,tax_total,discount_total,order_total,order_subtotal,\
order_currency,customer_id,billing_email,line_item_1,line_item_2,meta:wpml_language
71,71,2025-07-01 09:00:00,2025-07-01 10:00:00,wc-completed,5,1,0,24,18,EUR,7,ann@example.com,\
name:Tea|product_id:12|sku:T-1|quantity:2|total:9.00|sub_total:9.00,name:Pot|product_id:13|sku:|quantity:1|total:9|sub_total:9,de
72,72,2025-07-02 09:00:00,,on-hold,0,0,0,9,9,EUR,0,new@example.com,,,
73,73,2025-07-02 09:00:00,,refunded,0,0,0,9,9,EUR,0,new@example.com,name:Tea|quantity:1|sub_total:9,,
"""


async def bring(shop: Shop, preset: Preset, kind: ImportKind, text: str, *, route: bool = True) -> ImportReport:
    report = await import_rows(
        shop.database, kind, lines_of(text.encode()), ImportFormat.CSV, as_of=shop.now, preset=preset
    )
    if route:
        await shop.route()
    return report


async def orders(shop: Shop) -> Sequence[Order]:
    async with shop.database.read() as session:
        return (await session.scalars(select(Order).order_by(Order.order_id))).all()


async def test_customers_of_shopify_come_with_their_ids_and_their_yes(shop: Shop) -> None:
    report = await bring(shop, Preset.SHOPIFY, ImportKind.CUSTOMERS, SHOPIFY_CUSTOMERS)

    assert (report.rows, report.imported) == (2, 2)
    ann, bob = await shop.customer("8123"), await shop.customer("8124")
    assert ann.traits == {
        "first_name": "Ann",
        "last_name": "Meyer",
        "email": "Ann@Example.com",
        "phone": "+31612345678",
        "tags": "vip, tea",
        "address": {"city": "Utrecht", "postal_code": "1234AB"},
    }
    async with shop.database.read() as session:
        assert [each.state for each in await consent.current(session, ann.id)] == ["subscribed"]
        assert await consent.current(session, bob.id) == []


async def test_orders_of_shopify_are_one_for_all_their_lines_and_belong_to_whoever_has_the_address(shop: Shop) -> None:
    await bring(shop, Preset.SHOPIFY, ImportKind.CUSTOMERS, SHOPIFY_CUSTOMERS)
    report = await bring(shop, Preset.SHOPIFY, ImportKind.ORDERS, SHOPIFY_ORDERS)

    assert (report.rows, report.imported) == (5, 4)
    assert [(each.row, each.code) for each in report.problems] == [(5, "order_not_completed")]
    first, second, third, guests = await orders(shop)
    ann = await shop.customer("8123")
    assert {first.customer_id, second.customer_id, third.customer_id} == {ann.id}
    assert (first.order_id, first.total, first.subtotal, first.currency) == ("5550001", 5629, 4700, "EUR")
    assert first.completed_at == datetime(2025, 2, 28, 23, 15, tzinfo=UTC)
    assert [(line["sku"], line["quantity"], line["price"]) for line in first.lines] == [
        *(("FERN-1", 2, 1600), ("TOTE-1", 1, 2000))
    ]
    assert (second.state, second.refunded) == ("partially_refunded", 1000)
    assert third.state == "cancelled"
    guest = await shop.customer("guest@example.com")
    assert (guests.customer_id, guest.traits) == (guest.id, {"email": "guest@example.com"})
    again = await bring(shop, Preset.SHOPIFY, ImportKind.ORDERS, SHOPIFY_ORDERS)
    assert (again.imported, again.duplicates) == (0, 4)


async def test_exports_of_woocommerce_leave_passwords_out_and_are_read_in_the_shops_zone(shop: Shop) -> None:
    await bring(shop, Preset.WOOCOMMERCE, ImportKind.CUSTOMERS, WOO_CUSTOMERS)
    report = await bring(shop, Preset.WOOCOMMERCE, ImportKind.ORDERS, WOO_ORDERS)

    ann = await shop.customer("7")
    assert ann.traits == {
        "first_name": "Ann",
        "last_name": "Meyer",
        "email": "ann@example.com",
        "phone": "030 1",
        "address": {"city": "Berlin"},
    }
    assert [(each.row, each.code) for each in report.problems] == [(2, "order_not_completed")]
    first, second = await orders(shop)
    assert (first.customer_id, first.total, first.subtotal) == (ann.id, 2400, 1800)
    assert [(line["product_id"], line["quantity"], line["price"]) for line in first.lines] == [
        *(("12", 2, 450), ("13", 1, 900))
    ]
    assert (second.order_id, second.state) == ("73", "refunded")
    assert second.customer_id == (await shop.customer("new@example.com")).id


@pytest.mark.parametrize("trusted", [True, False])
async def test_an_address_that_only_a_browser_named_makes_nobody_the_orders_owner(shop: Shop, *, trusted: bool) -> None:
    await shop.identify({"email": "ann@example.com"}, user_id="ann", trusted=trusted)
    await bring(shop, Preset.SHOPIFY, ImportKind.ORDERS, "\n".join(SHOPIFY_ORDERS.splitlines()[:3]))
    [order] = await orders(shop)
    assert (order.customer_id == (await shop.customer("ann")).id) is trusted


async def test_an_order_is_nobodys_whose_address_several_have(shop: Shop) -> None:
    for user_id in ("ann", "ann-2"):
        await shop.identify({"email": "ann@example.com"}, user_id=user_id)
    report = await bring(shop, Preset.SHOPIFY, ImportKind.ORDERS, "\n".join(SHOPIFY_ORDERS.splitlines()[:3]))
    assert [(each.row, each.code) for each in report.problems] == [(1, "email_ambiguous")]


async def test_an_order_waits_for_customers_who_are_on_their_way(shop: Shop) -> None:
    await bring(shop, Preset.SHOPIFY, ImportKind.CUSTOMERS, SHOPIFY_CUSTOMERS, route=False)
    early = await bring(shop, Preset.SHOPIFY, ImportKind.ORDERS, "\n".join(SHOPIFY_ORDERS.splitlines()[:3]))
    assert [(each.row, each.code) for each in early.problems] == [(1, "customer_pending")]
    late = await bring(shop, Preset.SHOPIFY, ImportKind.ORDERS, "\n".join(SHOPIFY_ORDERS.splitlines()[:3]))
    assert (late.imported, [each.order_id for each in await orders(shop)]) == (1, ["5550001"])


async def test_what_no_export_has_costs_no_other_row(shop: Shop) -> None:
    lines = [
        '{"Customer ID": 8125, "Email": ["x"], "Phone": {"a": 1}, "Tags": null}',
        '{"Customer ID": "8126", "Email": "cid@example.com"}',
    ]
    report = await import_rows(
        *(shop.database, ImportKind.CUSTOMERS, lines, ImportFormat.JSON_LINES),
        as_of=shop.now,
        preset=Preset.SHOPIFY,
    )
    await shop.route()
    assert (report.imported, (await shop.customer("8126")).traits) == (2, {"email": "cid@example.com"})
