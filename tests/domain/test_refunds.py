"""What refunds take back, by figures worked out by hand and by any path."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.commerce import RefundFact
from domain.earned_amounts import Share, shared
from domain.ids import new_id
from domain.refunds import Frozen, taken_back

NOW = datetime(2026, 5, 20, tzinfo=UTC)
ANN = new_id()
LINES = (Share("tea", "t-1", 3, 1_000), Share("cup", None, 1, 500))
ORDER = Frozen(points=150, basis=1_500, currency="EUR", shares=LINES)


def refund(total: int | None = None, *lines: tuple[str, int], currency: str | None = None) -> RefundFact:
    told = [{"product_id": product, "quantity": pieces, "price": None} for product, pieces in lines]
    return RefundFact(new_id(), "o-1", ANN, NOW, total, currency, told)


def back(*refunds: RefundFact, frozen: Frozen = ORDER, is_cancelled: bool = False) -> int:
    return taken_back(frozen, refunds, is_cancelled=is_cancelled)


def test_nothing_is_taken_back_without_a_refund() -> None:
    assert back() == 0


def test_half_of_the_amount_takes_half_of_the_points() -> None:
    assert back(refund(750)) == 75


def test_products_take_their_frozen_shares() -> None:
    """One of three teas is 333 of the 1,000 cents that the line came to: 33 points; the cup 50."""
    assert back(refund(None, ("tea", 1))) == 33
    assert back(refund(None, ("tea", 1), ("cup", 1))) == 83
    assert back(refund(None, ("tea", 3), ("cup", 1))) == 150


def test_products_count_and_the_amount_beside_them_does_not() -> None:
    assert back(refund(1, ("cup", 1))) == 50


def test_no_more_pieces_come_back_than_were_bought() -> None:
    assert back(refund(None, ("cup", 5))) == 50
    assert back(refund(None, ("cup", 1)), refund(None, ("cup", 1))) == 50


def test_more_than_the_order_is_the_order() -> None:
    """Open Loyalty 3 took 120 percent for two returns of 60 (its RevokePointsOnReturnTransactionListener, R3)."""
    assert back(refund(900), refund(900)) == 150


def test_a_refund_of_nothing_named_and_a_cancellation_are_everything() -> None:
    assert back(refund()) == 150
    assert back(is_cancelled=True) == 150


def test_a_product_of_another_order_counts_by_its_amount() -> None:
    assert back(refund(150, ("kettle", 1))) == 15


def test_another_currency_cannot_be_measured() -> None:
    assert back(refund(750, currency="USD")) == 0
    assert back(refund(750, currency="EUR")) == 75


def test_lines_that_did_not_earn_take_nothing_back() -> None:
    tea_only = Frozen(10, 1_000, "EUR", (Share("tea", None, 1, 1_000), Share("cup", None, 1, 0)))

    assert back(refund(500, ("cup", 1)), frozen=tea_only) == 0


@pytest.mark.parametrize(("earned", "basis"), [(100, 7), (10, 3)])
def test_seven_returns_of_a_seventh_take_exactly_everything(earned: int, basis: int) -> None:
    """Open Loyalty 3 rounds each return by itself: 100 points on 7 came to 100.03, 10 on 3 to 9.99 (R3)."""
    steps = [back(*[refund(1)] * n, frozen=Frozen(earned, basis, "EUR")) for n in range(basis + 1)]

    assert steps[-1] == earned
    taken = [later - sooner for sooner, later in pairwise(steps)]
    assert taken == ([14, 14, 14, 15, 14, 14, 15] if basis == 7 else [3, 3, 4])


@given(
    points=st.integers(1, 10**6),
    lines=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 10**4)), min_size=1, max_size=6),
    order=st.randoms(use_true_random=False),
)
def test_any_path_of_partial_returns_ends_at_the_same(points: int, lines: list[tuple[int, int]], order: Any) -> None:
    """Invariant 8: bounded, growing, and everything at the end, whatever the order."""
    basis = sum(pieces * price for pieces, price in lines)
    parts = shared(basis, [pieces * price for pieces, price in lines])
    shares = [Share(str(n), None, pieces, part) for n, ((pieces, _), part) in enumerate(zip(lines, parts, strict=True))]
    frozen = Frozen(points, basis, "EUR", shares)
    single = [refund(None, (str(n), 1)) for n, (pieces, _) in enumerate(lines) for _ in range(pieces)]
    order.shuffle(single)

    steps = [back(*single[:n], frozen=frozen) for n in range(len(single) + 1)]

    assert steps == sorted(steps)
    assert steps[-1] == points


def test_of_two_refunds_of_one_instant_the_one_that_was_sent_first_comes_first() -> None:
    """One piece of either kind was bought. The product alone takes the first of them; the sku only its own."""
    frozen = Frozen(150, 1_500, "EUR", (Share("tea", "small", 1, 500), Share("tea", "large", 1, 1_000)))
    told = {"quantity": 1, "price": None}
    by_sku = RefundFact(new_id(), "o-1", ANN, NOW, None, None, [{**told, "sku": "small"}], NOW + timedelta(seconds=1))
    by_product = RefundFact(new_id(), "o-1", ANN, NOW, None, None, [{**told, "product_id": "tea"}], NOW)

    assert back(by_sku, by_product, frozen=frozen) == 50  # the sku's piece is back already
    assert back(by_sku, replace(by_product, sent=NOW + timedelta(seconds=2)), frozen=frozen) == 150
