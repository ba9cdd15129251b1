"""Rows of past data: what they become, and what is refused instead of being guessed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from domain.imported_rows import Retold, take_row
from domain.imports import ImportKind, Row, RowProblem
from domain.opening_rows import OpeningRow

NOW = datetime(2026, 11, 30, tzinfo=UTC)


def order(**values: Any) -> list[tuple[str, Any]] | str:
    """The names of the events that an order becomes, each with its total, or the code of its refusal."""
    row = Row(1, {"order_id": "o-1", "user_id": "u-1", "total": "49.90", "completed_at": "2026-03-01", **values})
    taken = take_row(ImportKind.ORDERS, row, currency="EUR", as_of=NOW)
    if isinstance(taken, RowProblem):
        return taken.code
    assert isinstance(taken, list)
    return [(event.name, event.properties.get("total")) for event in taken]


COMPLETED = ("Order Completed", "49.90")


@pytest.mark.parametrize("state", [None, "", "completed", "Complete", "PAID", "processing", "Fulfilled", " closed "])
def test_an_order_that_was_paid_is_completed(state: str | None) -> None:
    assert order(state=state) == [COMPLETED]


@pytest.mark.parametrize("state", ["cancelled", "canceled", "Canceled", "CANCELLED ", "voided"])
def test_a_cancelled_order_is_cancelled_however_it_is_spelled(state: str) -> None:
    assert order(state=state) == [COMPLETED, ("Order Cancelled", None)]


@pytest.mark.parametrize("state", ["refunded", "Refunded", " REFUNDED"])
def test_a_refunded_order_gives_back_everything_unless_it_states_an_amount(state: str) -> None:
    assert order(state=state) == [COMPLETED, ("Order Refunded", None)]
    assert order(state=state, refunded="10.00") == [COMPLETED, ("Order Refunded", "10.00")]


def test_a_partial_refund_states_its_amount() -> None:
    assert order(state="Partially refunded", refunded="10") == [COMPLETED, ("Order Refunded", "10")]
    assert order(state="partially_refunded") == "refund_amount_missing"
    assert order(state="partially_refunded", refunded="0.00") == "refund_amount_missing"


@pytest.mark.parametrize("nothing", [0, "0.00", "0", None])
def test_nothing_that_went_back_is_no_refund(nothing: Any) -> None:
    assert order(refunded=nothing) == [COMPLETED]


@pytest.mark.parametrize("state", ["pending", "Pending payment", "on-hold", "authorized", "failed", "Draft", "unpaid"])
def test_an_order_that_nobody_has_paid_is_none_yet(state: str) -> None:
    assert order(state=state) == "order_not_completed"


@pytest.mark.parametrize("state", ["zurückerstattet", "refunded?", 3, ["refunded"], True])
def test_a_state_that_is_not_understood_is_refused(state: Any) -> None:
    assert order(state=state) == "state_unknown"


@pytest.mark.parametrize(
    ("columns", "becomes"),
    [
        ({"status": "refunded"}, [COMPLETED, ("Order Refunded", None)]),
        ({"State": "cancelled"}, [COMPLETED, ("Order Cancelled", None)]),
        ({"status": "completed", "Financial Status": "refunded"}, [COMPLETED, ("Order Refunded", None)]),
        ({"financialStatus": "paid", "cancelled_at": "2026-03-02"}, [COMPLETED, ("Order Cancelled", None)]),
        ({"financial_status": "pending"}, "order_not_completed"),
        ({"status": "completed", "payment_status": "zurückerstattet"}, "state_unknown"),
        ({"refunded_amount": "10.00"}, [COMPLETED, ("Order Refunded", "10.00")]),
        ({"refund_total": "10,00"}, "amount_malformed"),
        ({"refunds": [{"amount": 10}]}, "amount_malformed"),
        ({"refunds": []}, [COMPLETED]),
        ({"refunded_amount": "10", "refund_total": "20"}, "column_conflict"),
        ({"total": None, "Grand Total": "12"}, [("Order Completed", "12")]),
        ({"currency_code": "Taler"}, "currency_unknown"),
    ],
)
def test_what_changes_the_meaning_of_an_order_is_read_under_its_usual_names(columns: Any, becomes: Any) -> None:
    assert order(**columns) == becomes


@pytest.mark.parametrize("column", ["completed_at", "Completed At", "created_at", "createdAt", "date", "order_date"])
def test_an_order_is_of_the_time_that_it_states_under_a_usual_name(column: str) -> None:
    values = {"order_id": "o-1", "user_id": "u-1", "total": "49.90", column: "2026-03-01"}
    taken = take_row(ImportKind.ORDERS, Row(1, values), currency="EUR", as_of=NOW)
    assert isinstance(taken, list)
    assert [event.timestamp for event in taken] == [datetime(2026, 3, 1, tzinfo=UTC)]


def test_an_order_without_a_time_is_refused_and_never_of_now() -> None:
    assert order(completed_at=None) == "time_missing"
    assert order(completed_at="") == "time_malformed"


@pytest.mark.parametrize(
    ("column", "products", "code"),
    [
        ("products", [{"product_id": "a", "price": "1,050.00", "quantity": 1}], "amount_unreadable"),
        (
            "products",
            [{"product_id": "a", "price": 9}, {"product_id": "b", "quantity": "2 Stk"}],
            "quantity_unreadable",
        ),
        ("products", {"product_id": "a", "price": 9}, "products_unreadable"),
        ("products", '["tea"]', "products_unreadable"),
        ("products", "2 x Tea", "wrong_type"),
        ("line_items", [{"product_id": "a", "price": "x"}], "amount_unreadable"),
    ],
)
def test_an_order_with_a_line_that_cannot_be_read_is_refused(column: str, products: Any, code: str) -> None:
    assert order(**{column: products}) == code


def ids(kind: ImportKind, rows: list[dict[str, Any]]) -> list[str]:
    """The message ids of what the rows of one file become, a row's after the other's."""
    retold, found = Retold(), []
    for number, values in enumerate(rows, 1):
        taken = take_row(kind, Row(number, values), currency="EUR", as_of=NOW)
        assert isinstance(taken, list)
        found += [event.message_id for event in retold.tell_apart(taken)]
    return found


GOLD, SILVER = {"id": "u-1", "tier": "gold"}, {"id": "u-1", "tier": "silver"}
OTHER = {"id": "u-2", "tier": "gold"}


def test_a_row_that_goes_back_to_an_earlier_value_counts_again() -> None:
    told = ids(ImportKind.CUSTOMERS, [GOLD, SILVER, OTHER, GOLD, SILVER, GOLD])
    assert len(set(told)) == 6


def test_a_row_that_repeats_the_one_before_it_is_the_same_row() -> None:
    gold, _, again, silver, back, still = ids(ImportKind.CUSTOMERS, [GOLD, OTHER, GOLD, SILVER, GOLD, GOLD])
    assert gold == again
    assert len({gold, silver, back}) == 3
    assert back == still


def test_the_same_file_gives_the_same_ids_again_and_a_row_alone_its_own() -> None:
    rows = [GOLD, SILVER, OTHER, GOLD]
    assert ids(ImportKind.CUSTOMERS, rows) == ids(ImportKind.CUSTOMERS, rows)
    assert ids(ImportKind.CUSTOMERS, rows)[:3] == [ids(ImportKind.CUSTOMERS, [row])[0] for row in (GOLD, SILVER, OTHER)]


def test_an_order_that_goes_back_to_an_earlier_total_counts_again_with_all_that_became_of_it() -> None:
    first = {"order_id": "o-1", "user_id": "u-1", "total": "100", "refunded": "10", "date": "2026-03-01"}
    told = ids(ImportKind.ORDERS, [first, {**first, "order_id": "o-2"}, {**first, "total": "90"}, first])
    assert len(set(told)) == 8
    unmoved = ids(ImportKind.ORDERS, [first, {**first, "order_id": "o-2"}, first])
    assert unmoved[:2] == unmoved[4:]


@pytest.mark.parametrize("column", ["posted_at", "measured_at"])
@pytest.mark.parametrize("late", ["2026-11-30T00:02:00Z", "2027-01-01", "9999-12-31T23:59:59-14:00"])
def test_a_post_measured_in_the_future_is_refused(column: str, late: str) -> None:
    values = {"network": "x", "post_id": "1", "posted_at": "2026-11-01T00:00:00Z", "likes": "3", column: late}
    taken = take_row(ImportKind.POSTS, Row(1, values), currency="EUR", as_of=NOW)
    assert isinstance(taken, RowProblem)
    assert taken.code == "time_in_future"


def test_phps_empty_arrays_in_a_row_are_empty_objects() -> None:
    row = Row(1, {"user_id": "u-1", "consent": [], "traits": [], "plan": "gold"})
    taken = take_row(ImportKind.CUSTOMERS, row, currency="EUR", as_of=NOW)
    assert isinstance(taken, list)
    assert [event.traits for event in taken] == [{"plan": "gold"}]


def test_a_column_called_guest_is_a_property_or_a_trait_and_no_address() -> None:
    told = {"user_id": "u-1", "order_id": "1", "total": 10, "guest": True, "date": "2026-03-01"}
    taken = take_row(ImportKind.ORDERS, Row(1, told), currency="EUR", as_of=NOW)
    customer = take_row(ImportKind.CUSTOMERS, Row(1, {"user_id": "u-1", "guest": "yes"}), currency="EUR", as_of=NOW)

    assert isinstance(taken, list)
    assert [(event.name, event.properties["guest"]) for event in taken] == [("Order Completed", True)]
    assert isinstance(customer, list)
    assert customer[0].traits["guest"] == "yes"


@pytest.mark.parametrize(
    ("written", "points"),
    [
        ("1.000", None),
        ("-2.000", None),
        ("500.000", None),
        ("1.200", None),
        ("1200.00", 1200),
        ("1200", 1200),
        (7.0, 7),
    ],
)
def test_points_with_a_dot_that_may_part_thousands_are_refused(written: Any, points: int | None) -> None:
    """A German export means a thousand by 1.000, another system one."""
    taken = take_row(ImportKind.LOYALTY, Row(1, {"user_id": "u-1", "points": written}), currency="EUR", as_of=NOW)

    if points is None:
        assert isinstance(taken, RowProblem)
        assert taken.code == "points_malformed"
    else:
        assert isinstance(taken, OpeningRow)
        assert taken.points == points
