"""The lines of exported orders: each belongs to its order or is reported, and what cannot be read is refused."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from domain.import_presets import Preset, rows_of
from domain.imported_rows import take_row
from domain.imports import ImportFormat, ImportKind, Row, RowProblem, lines_of, read_rows

SHOPIFY = "Name,Email,Financial Status,Paid at,Total,Lineitem quantity,Lineitem name,Lineitem price,Id"


def first(name: str, status: str = "paid", line: str = "1,Seed,10.00", order_id: str = "") -> str:
    return f"{name},a@shop.example,{status},2026-03-03 10:00:00 +0100,30.00,{line},{order_id or name[1:]}"


def further(name: str, line: str = "2,Pot,10.00") -> str:
    return f"{name},a@shop.example,,,,{line},"


def taken(preset: Preset, rows: Sequence[str]) -> tuple[dict[str, list[str]], list[tuple[int, str]]]:
    """The names of the lines of each order that is taken, and the row and code of each refusal."""
    orders, refused = {}, []
    read = read_rows(lines_of("\n".join(rows).encode()), ImportFormat.CSV, plain=True)
    for row in rows_of(preset, ImportKind.ORDERS, read, ZoneInfo("Europe/Berlin")):
        told = Row(row.number, {"user_id": "u-1", **row.values}) if isinstance(row, Row) else row
        if isinstance(told, Row):
            result = take_row(ImportKind.ORDERS, told, currency="EUR", as_of=datetime(2026, 11, 30, tzinfo=UTC))
        else:
            result = told
        if isinstance(result, RowProblem):
            refused.append((result.row, result.code))
        else:
            assert isinstance(result, list)
            said = result[0].properties
            orders[said["order_id"]] = [f"{each['quantity']} {each['name']}" for each in said.get("products", [])]
    return orders, sorted(refused)


def test_lines_of_a_shopify_order_are_one_order_wherever_they_stand() -> None:
    rows = [SHOPIFY, further("#1"), first("#1"), first("#2"), further("#1", "3,Tea,1.00"), further("#2")]
    orders, refused = taken(Preset.SHOPIFY, rows)
    assert orders == {"1": ["1 Seed", "3 Tea", "2 Pot"], "2": ["1 Seed", "2 Pot"]}
    assert refused == []


def test_a_line_whose_order_was_not_taken_is_no_order_of_its_own() -> None:
    rows = [
        SHOPIFY,
        first("#1", line='1,"Seed 5" bag,10.00'),  # cannot be read
        further("#1"),
        first("#2", status="pending"),
        first("#3"),
        further("#2"),
        first("#4", status=""),
        first("#5", order_id="7.00E+03"),
        ",a@shop.example,,,,1,Pot,10.00,",
    ]
    orders, refused = taken(Preset.SHOPIFY, rows)
    assert orders == {"3": ["1 Seed"]}
    assert refused == [
        *((1, "csv_malformed"), (2, "order_line_alone"), (3, "order_not_completed"), (6, "state_missing")),
        *((7, "order_id_rounded"), (8, "order_id_missing")),
    ]


@pytest.mark.parametrize(
    ("line", "code"), [('1,Seed,"1,050.00"', "amount_unreadable"), ("x,Seed,10.00", "quantity_unreadable")]
)
def test_a_shopify_order_with_a_line_that_cannot_be_read_is_refused(line: str, code: str) -> None:
    assert taken(Preset.SHOPIFY, [SHOPIFY, first("#1"), further("#1", line), first("#2")]) == (
        {"2": ["1 Seed"]},
        [(1, code)],
    )


@pytest.mark.parametrize(
    ("line", "price", "code"),
    [
        ("name:Pot|product_id:12|quantity:2|total:20.00", "10.00", None),
        ("name:Pot|product_id:12|quantity:2|total:18.00|sub_total:20.00", "10.00", None),
        ("name:Pot|product_id:12|quantity:2|total:50,00", None, "amount_unreadable"),
        ("name:Pot|product_id:12|quantity:x|total:50.00", None, "quantity_unreadable"),
        ('[{"name":"Pot","quantity":2}]', None, "products_unreadable"),
        ("two pots", None, "products_unreadable"),
    ],
)
def test_lines_of_woocommerce_have_a_price_of_one_piece_or_refuse_their_order(
    line: str, price: str | None, code: str | None
) -> None:
    header = "order_id;paid_date;status;order_total;customer_id;line_item_1"
    cell = line.replace('"', '""')
    read = read_rows(
        lines_of(f'{header}\n1;2026-03-01 10:00:00;completed;20;7;"{cell}"'.encode()), ImportFormat.CSV, plain=True
    )
    [row] = rows_of(Preset.WOOCOMMERCE, ImportKind.ORDERS, read, ZoneInfo("Europe/Berlin"))
    assert isinstance(row, Row)
    result = take_row(ImportKind.ORDERS, row, currency="EUR", as_of=datetime(2026, 11, 30, tzinfo=UTC))
    if isinstance(result, RowProblem):
        assert result.code == code
    else:
        assert isinstance(result, list)
        assert (result[0].properties["products"][0]["price"], None) == (price, code)
