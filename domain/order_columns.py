"""What the columns of an order's row say, whatever the shop calls them: its amounts, what became of it, and when.

What changes the meaning of an order and is not understood refuses the row: it is never taken for completed, or for now.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from domain.imported_cells import own_time
from domain.imports import RowError

_SPELLINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "order_id": ("orderid",),
    "total": ("total", "ordertotal", "totalprice", "totalamount", "grandtotal", "amount"),
    "subtotal": ("subtotal", "ordersubtotal", "subtotalprice"),
    "shipping": ("shipping", "shippingtotal"),
    "tax": ("tax", "taxtotal", "totaltax"),
    "discount": ("discount", "discounttotal", "totaldiscount"),
    "currency": ("currency", "currencycode", "ordercurrency"),
    "refunded": (
        *("refunded", "refundedamount", "refundamount", "amountrefunded"),
        *("refundedtotal", "refundtotal", "totalrefunded", "refunds"),
    ),
    "products": ("products", "lineitems"),
}
"""Our columns, and what else says the same, in small letters and nothing between them."""

_STATES = ("state", "status", "orderstate", "orderstatus", "financialstatus", "paymentstatus")
_HAPPENED: Final[Mapping[str, str]] = {
    "cancelledat": "cancelled",
    "canceledat": "cancelled",
    "refundedat": "refunded",
}
"""Columns with the time of what became of an order."""
_TIMES = (
    *("timestamp", "completedat", "orderedat", "paidat", "placedat", "purchasedat", "processedat"),
    *("createdat", "orderdate", "date"),
)

COMPLETED: Final = "completed"
CANCELLED: Final = "cancelled"
REFUNDED: Final = "refunded"
PARTIALLY_REFUNDED: Final = "partially_refunded"

_WORDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("cancelled", "canceled", "voided"), CANCELLED),
    "refunded": REFUNDED,
    "partially_refunded": PARTIALLY_REFUNDED,
    **dict.fromkeys(
        ("completed", "complete", "paid", "processing", "fulfilled", "shipped", "delivered", "closed"), COMPLETED
    ),
}
_STRONGEST = (CANCELLED, REFUNDED, PARTIALLY_REFUNDED, COMPLETED)
_NO_ORDER = frozenset(
    {"pending", "pending_payment", "on_hold", "authorized", "unpaid", "partially_paid", "expired", "failed", "draft"}
)


def under_our_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """The row with its amounts, currency and products under our names; a column of our own name comes before others.

    Raises RowError where two others say different things.
    """
    ours = dict(values)
    for name, spellings in _SPELLINGS.items():
        if ours.get(name) is not None:
            continue
        others = {column: ours[column] for column in ours if _squashed(column) in spellings and _says(ours[column])}
        for column in others:
            del ours[column]
        told = list(others.values())
        if any(each != told[0] for each in told):
            raise RowError("column_conflict", f"{' and '.join(others)} differ: write one column, called {name}")
        if told:
            ours[name] = told[0]
    return ours


def take_state(values: dict[str, Any]) -> str:
    """What became of an order by all columns that say so, which are taken out. Raises RowError for what is no order
    yet, or not understood: neither counts as completed."""
    told = {_state(column, value) for column, value in _states(values)}
    for column in [each for each in values if _squashed(each) in _STATES]:
        del values[column]
    return next((state for state in _STRONGEST if state in told), COMPLETED)


def take_time(values: dict[str, Any], as_of: datetime) -> datetime:
    """When it was bought, by the first column that says so, which is taken out. Raises RowError where none does."""
    columns = sorted(
        (each for each in values if _squashed(each) in _TIMES), key=lambda each: _TIMES.index(_squashed(each))
    )
    at = own_time(values, as_of, columns)
    if at is None:
        raise RowError("time_missing", "each order needs completed_at, a time such as 2026-03-01T09:30:00Z")
    return at


def _states(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for column, value in values.items():
        if (name := _squashed(column)) in _HAPPENED and _says(value):
            yield column, _HAPPENED[name]
        elif name in _STATES and value not in (None, ""):
            yield column, value


def _state(column: str, told: Any) -> str:
    state = re.sub(r"[\s_-]+", "_", told.strip().lower()) if isinstance(told, str) else ""
    if state in _NO_ORDER:
        what = f"{column}: an order that is {state} is none yet; import it when it is paid"
        raise RowError("order_not_completed", what)
    if state not in _WORDS:
        raise RowError("state_unknown", f"{column}: write one of {', '.join(sorted(_WORDS))}, or leave it out")
    return _WORDS[state]


def _says(value: Any) -> bool:
    return value not in (None, "", [], {})


@lru_cache(maxsize=1_000)  # the rows of a file have the same columns
def _squashed(column: str) -> str:
    """`Financial Status`, `financial-status` and `financialStatus` are one name."""
    return re.sub(r"[\s_-]+", "", column).lower()
