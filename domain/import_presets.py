"""The exports of shop systems as rows of ours: their columns under our names, the lines of an order in one row.

What has no place here is left out: an export has passwords and the like, which are nobody's traits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from zoneinfo import ZoneInfo

from domain.commerce import whole_number
from domain.imports import ImportKind, Row, RowProblem
from domain.money import amount_of


class Preset(StrEnum):
    """Whose export a file is."""

    SHOPIFY = "shopify"
    WOOCOMMERCE = "woocommerce"


Cells = Mapping[str, str]
"""A row by the export's own columns, which may have capitals and spaces."""
Rows = Iterable[Row | RowProblem]

PRESET_KINDS: Final = (ImportKind.CUSTOMERS, ImportKind.ORDERS)


def rows_of(preset: Preset, kind: ImportKind, rows: Rows, zone: ZoneInfo) -> Iterator[Row | RowProblem]:
    """The rows of an export of customers or orders. `zone` is the shop's: WooCommerce writes its local time."""
    rows = (Row(row.number, _cells(row.values)) if isinstance(row, Row) else row for row in rows)
    match preset, kind:
        case Preset.SHOPIFY, ImportKind.ORDERS:
            return _shopify_orders(rows, zone)
        case Preset.SHOPIFY, _:
            return _each(rows, _shopify_customer)
        case _, ImportKind.ORDERS:
            return _woo_orders(rows, zone)
        case _:
            return _each(rows, lambda cells: _woo_customer(cells, zone))


def _each(rows: Rows, read: Callable[[Cells], dict[str, Any]]) -> Iterator[Row | RowProblem]:
    for row in rows:
        yield Row(row.number, read(row.values)) if isinstance(row, Row) else row


def _order_row(number: int, values: dict[str, Any], state_column: str) -> Row | RowProblem:
    """An export says what became of each order, so one that does not is not taken for completed."""
    if "state" not in values:
        what = f"{state_column}: this is empty, and without it nobody knows whether the order was paid"
        return RowProblem(number, "state_missing", what)
    return Row(number, values)


# Shopify -------------------------------------------------------------------------------------------------


def _shopify_orders(rows: Rows, zone: ZoneInfo) -> Iterator[Row | RowProblem]:
    """Each line of an order is a row, and only the first says what became of the order. Its number is the order's.

    The lines of one `Name` are one order wherever they stand, so the file is read to its end before the first order.
    """
    orders: list[tuple[Row, list[dict[str, str]]]] = []
    lines: dict[str, list[dict[str, str]]] = {}  # of the last order of each name
    early: list[tuple[str, Row]] = []  # lines before the first one of their order
    for row in rows:
        if isinstance(row, RowProblem):
            yield row
            continue
        name = row.values.get("Name") or row.values.get("Id")
        if name is None:
            yield RowProblem(row.number, "order_id_missing", "each line of an order needs its Name")
        elif any(row.values.get(column) for column in _OF_THE_ORDER):
            lines[name] = []
            orders.append((row, lines[name]))
            lines[name] += _shopify_line(row.values)
        elif name in lines:
            lines[name] += _shopify_line(row.values)
        else:
            early.append((name, row))
    for name, row in early:
        if name in lines:
            lines[name] += _shopify_line(row.values)
        else:
            yield RowProblem(row.number, "order_line_alone", _ALONE.format(name=name))
    for row, products in orders:
        yield _order_row(row.number, _shopify_order(row.values, products, zone), "Financial Status")


_OF_THE_ORDER = ("Financial Status", "Total", "Subtotal", "Id", "Paid at", "Currency")
"""Columns that only the first line of an order fills."""
_ALONE = "this is a further line of the order {name}, whose first line was not taken or is not in this file"


def _shopify_line(cells: Cells) -> list[dict[str, str]]:
    columns = {"name": "Lineitem name", "sku": "Lineitem sku", "quantity": "Lineitem quantity"}
    line = _named(cells, {**columns, "price": "Lineitem price"})
    return [line] if "name" in line or "sku" in line else []


def _shopify_order(cells: Cells, products: list[dict[str, str]], zone: ZoneInfo) -> dict[str, Any]:
    columns = {"currency": "Currency", "subtotal": "Subtotal", "shipping": "Shipping", "tax": "Taxes"}
    totals = {"total": "Total", "discount": "Discount Amount", "refunded": "Refunded Amount", "email": "Email"}
    state = "cancelled" if cells.get("Cancelled at") else cells.get("Financial Status")
    return _told(
        **_named(cells, {**columns, **totals, "coupon": "Discount Code", "name": "Name"}),
        order_id=_plain(cells.get("Id")) or cells.get("Name"),
        user_id=_plain(cells.get("Customer ID")),
        state=state,
        completed_at=_time(cells.get("Paid at") or cells.get("Created at"), zone),
        products=products,
    )


def _shopify_customer(cells: Cells) -> dict[str, Any]:
    address = {
        name: value
        for name, column in _SHOPIFY_ADDRESS.items()
        if (value := _plain(cells.get(f"Default Address {column}") or cells.get(column)))
    }
    columns = {"first_name": "First Name", "last_name": "Last Name", "email": "Email", "tags": "Tags"}
    accepts = (cells.get("Accepts Email Marketing") or cells.get("Accepts Marketing") or "").lower()
    return _told(
        **_named(cells, columns),
        user_id=_plain(cells.get("Customer ID")),
        phone=_plain(cells.get("Phone") or cells.get("Default Address Phone")),
        address=address or None,
        consent={"marketing": "subscribed"} if accepts in ("yes", "true") else None,
    )


_SHOPIFY_ADDRESS: Final = {
    "street": "Address1",
    "street2": "Address2",
    "city": "City",
    "postal_code": "Zip",
    "region": "Province Code",
    "country": "Country Code",
    "company": "Company",
}


# WooCommerce ---------------------------------------------------------------------------------------------


def _woo_orders(rows: Rows, zone: ZoneInfo) -> Iterator[Row | RowProblem]:
    for row in rows:
        yield _order_row(row.number, _woo_order(row.values, zone), "status") if isinstance(row, Row) else row


def _woo_order(cells: Cells, zone: ZoneInfo) -> dict[str, Any]:
    columns = {"shipping": "shipping_total", "tax": "tax_total", "discount": "discount_total"}
    columns |= {"currency": "order_currency", "refunded": "refunded_total", "total": "order_total"}
    return _told(
        **_named(cells, columns),
        order_id=cells.get("order_id") or cells.get("order_number"),
        user_id=_woo_user(cells),
        email=cells.get("billing_email") or cells.get("customer_email"),
        subtotal=cells.get("order_subtotal"),
        state=(cells.get("status") or cells.get("order_status") or "").removeprefix("wc-"),
        completed_at=_time(cells.get("paid_date") or cells.get("order_date") or cells.get("date"), zone),
        products=[_woo_line(cell) for cell in _woo_lines(cells) if cell.strip()],
    )


def _woo_user(cells: Cells) -> str | None:
    """Guests are customer 0."""
    told = cells.get("customer_id") or cells.get("customer_user") or cells.get("ID")
    return None if told == "0" else told


def _woo_lines(cells: Cells) -> Iterator[str]:
    """`line_items` parted by semicolons, or `line_item_1`, `line_item_2` and so on."""
    yield from (cells.get("line_items") or "").split(";")
    yield from (cell for column, cell in cells.items() if re.fullmatch(r"line_item_[0-9]+", column))


def _woo_line(cell: str) -> dict[str, str] | str:
    """`name:Tea|product_id:12|sku:T-1|quantity:2|subtotal:9.00|total:8.00`; the price is that of one piece.

    What cannot be read stays as it is written, so that the row is refused for it.
    """
    said = dict(part.split(":", 1) for part in cell.split("|") if ":" in part)
    line = _named(said, {name: name for name in ("name", "product_id", "sku", "quantity")})
    if not line.keys() & {"name", "product_id", "sku"}:
        return cell
    worth = said.get("subtotal") or said.get("sub_total") or said.get("total")
    exact, pieces = amount_of(worth), whole_number(said.get("quantity", "1"))
    if not worth or pieces == 0:
        return line
    return {**line, "price": str(exact / pieces) if exact is not None and pieces is not None else worth}


def _woo_customer(cells: Cells, zone: ZoneInfo) -> dict[str, Any]:
    parts = {"street": "address_1", "street2": "address_2", "city": "city", "postal_code": "postcode"}
    parts |= {"region": "state", "country": "country", "company": "company"}
    address = _named(cells, {name: f"billing_{part}" for name, part in parts.items()})
    registered = cells.get("date_registered") or cells.get("user_registered")
    return _told(
        user_id=_woo_user(cells),
        email=cells.get("email") or cells.get("user_email") or cells.get("billing_email"),
        first_name=cells.get("first_name") or cells.get("billing_first_name"),
        last_name=cells.get("last_name") or cells.get("billing_last_name"),
        phone=cells.get("billing_phone"),
        address=address or None,
        timestamp=_time(registered, zone),
    )


# Cells ---------------------------------------------------------------------------------------------------


def _cells(values: Mapping[str, Any]) -> Cells:
    """What a CSV would have: JSON lines may bring numbers, and things that no export has."""
    return {name: str(value) for name, value in values.items() if isinstance(value, str | int | float)}


def _named(cells: Cells, columns: Mapping[str, str]) -> dict[str, str]:
    """Our name, and the export's: what has a value."""
    return {name: value for name, column in columns.items() if (value := cells.get(column))}


def _told(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, "", [])}


def _plain(cell: str | None) -> str | None:
    """Shopify puts an apostrophe before what spreadsheets would take for a number."""
    return cell.removeprefix("'") if cell else None


def _time(cell: str | None, zone: ZoneInfo) -> str | None:
    """As `2026-03-01 10:22:11 +0100`, or without an offset in the shop's zone. What is no time is told as it is."""
    if not cell:
        return None
    try:
        moment = datetime.fromisoformat(re.sub(r" ([+-][0-9]{4})$", r"\1", cell.removesuffix(" UTC")))
    except ValueError:
        return cell
    in_utc = moment if moment.tzinfo or cell.endswith(" UTC") else moment.replace(tzinfo=zone)
    return in_utc.isoformat()
