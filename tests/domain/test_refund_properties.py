"""What holds of refunds whatever they are: bounded, growing, the same in every order and however often they come."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from domain.commerce import OrderFold
from domain.earned_amounts import Share, shared
from domain.ids import new_id
from domain.refund_statements import Told
from domain.refunds import Frozen, RefundFact, given_back, taken_back

NOW = datetime(2026, 5, 20, tzinfo=UTC)
ANN = new_id()

_lines = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 10_000)), min_size=0, max_size=4)


@st.composite
def orders(draw: st.DrawFn) -> OrderFold:
    """An order whose lines have a product each; with discount, tax and shipping, or without a word about them."""
    bought = draw(_lines)
    lines = [
        {"product_id": f"p-{n}", "sku": f"s-{n}", "quantity": pieces, "price": price}
        for n, (pieces, price) in enumerate(bought)
    ]
    subtotal = sum(pieces * price for pieces, price in bought) or draw(st.integers(1, 50_000))
    shipping = draw(st.integers(0, 1_000))
    goods = subtotal - draw(st.integers(0, subtotal)) + draw(st.integers(0, 5_000))
    amounts = {"subtotal": subtotal, "shipping": shipping, "total": goods + shipping}
    return OrderFold("o-1", ANN, "EUR", amounts=amounts, lines=lines)


def money(amount: int, at: int = 0) -> RefundFact:
    """A refund of an amount of cents and no more."""
    return RefundFact(
        *(new_id(), "o-1", ANN, NOW + timedelta(minutes=at)), told=Told.STATED, amount=Decimal(amount).scaleb(-2)
    )


@st.composite
def refunds(draw: st.DrawFn) -> RefundFact:
    """By products, by an amount that can be read or not, or by both."""
    lines = [
        {"product_id": f"p-{n}", "sku": f"s-{n}", "quantity": pieces, "price": None}
        for n, pieces in draw(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=3))
    ]
    told = draw(st.sampled_from(list(Told) if lines else [Told.STATED, Told.UNREADABLE]))
    found = replace(money(draw(st.integers(0, 60_000)), draw(st.integers(0, 3))), told=told, lines=lines)
    return replace(
        found if told is Told.STATED else replace(found, amount=None),
        shipping=Decimal(draw(st.integers(0, 1_000))).scaleb(-2) if draw(st.booleans()) else None,
        currency=draw(st.sampled_from([None, "EUR", "USD"])),
    )


_refunds = st.lists(refunds(), max_size=5)


def frozen_of(order: OrderFold, points: int) -> Frozen:
    """The decision of a rule that pays by the subtotal."""
    basis = order.amounts["subtotal"] or 0
    parts = shared(basis, [line["quantity"] * line["price"] for line in order.lines])
    shares = [
        Share(line["product_id"], line["sku"], line["quantity"], part, line["price"])
        for line, part in zip(order.lines, parts, strict=True)
    ]
    return Frozen(points, basis, "EUR", shares)


@given(orders(), _refunds, st.integers(0, 10**6))
def test_what_is_given_back_is_bounded(order: OrderFold, told: list[RefundFact], points: int) -> None:
    found = given_back(order, told)
    assert 0 <= found.refunded <= (order.amounts["total"] or 0)
    assert 0 <= found.returned <= 1
    assert 0 <= taken_back(frozen_of(order, points), order, told) <= points


@given(orders(), _refunds, st.randoms(use_true_random=False))
def test_it_does_not_matter_in_which_order_refunds_arrive(
    order: OrderFold, told: list[RefundFact], random: Any
) -> None:
    shuffled = list(told)
    random.shuffle(shuffled)
    assert given_back(order, shuffled) == given_back(order, told)
    assert given_back(order, shuffled, frozen_of(order, 100)) == given_back(order, told, frozen_of(order, 100))


@given(orders(), _refunds)
def test_a_refund_that_comes_again_counts_once(order: OrderFold, told: list[RefundFact]) -> None:
    assert given_back(order, [*told, *told]) == given_back(order, told)
    named = [replace(each, refund_id=f"r-{n}") for n, each in enumerate(told)]
    again = [replace(each, event_id=new_id()) for each in named]
    assert given_back(order, [*named, *again]) == given_back(order, told)


@given(orders(), _refunds)
def test_each_further_refund_gives_back_as_much_or_more(order: OrderFold, told: list[RefundFact]) -> None:
    for frozen in (None, frozen_of(order, 100)):
        steps = [given_back(order, told[:count], frozen) for count in range(len(told) + 1)]
        assert [step.refunded for step in steps] == sorted(step.refunded for step in steps)
        assert [step.returned for step in steps] == sorted(step.returned for step in steps)


@given(orders(), st.lists(st.integers(0, 20_000), min_size=1, max_size=6))
def test_many_amounts_give_back_what_their_sum_does(order: OrderFold, parts: list[int]) -> None:
    assert given_back(order, [money(part) for part in parts]) == given_back(order, [money(sum(parts))])


@given(orders(), st.lists(st.integers(0, 1_000), max_size=6))
def test_shipping_alone_takes_no_goods(order: OrderFold, parts: list[int]) -> None:
    shipping, total = order.amounts["shipping"] or 0, order.amounts["total"] or 0
    amounts = shared(shipping, [part + 1 for part in parts])
    if total > shipping:
        assert given_back(order, [money(each) for each in amounts]).returned == 0


@given(orders(), st.randoms(use_true_random=False), st.integers(1, 10**6))
def test_all_pieces_one_by_one_take_exactly_everything(order: OrderFold, random: Any, points: int) -> None:
    """Invariant 8: any path of partial returns ends where one full return does."""
    single = [
        RefundFact(new_id(), "o-1", ANN, NOW, lines=[{**line, "quantity": 1}])
        for line in order.lines
        for _ in range(line["quantity"])
    ]
    random.shuffle(single)
    steps = [taken_back(frozen_of(order, points), order, single[:count]) for count in range(len(single) + 1)]
    assert steps == sorted(steps)
    assert steps[-1] == (points if single else 0)


@given(orders(), _refunds)
def test_orders_and_points_agree_where_the_rule_pays_for_all_goods(order: OrderFold, told: list[RefundFact]) -> None:
    assert given_back(order, told).returned == given_back(order, told, frozen_of(order, 100)).returned
    assert isinstance(given_back(order, told).returned, Fraction)
