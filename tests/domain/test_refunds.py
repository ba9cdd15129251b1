"""What refunds give back of an order, by figures worked out by hand: money, goods and points."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise, permutations
from typing import Any

import pytest

from domain.commerce import CommerceEvent, OrderFold, OrderState, fold_order
from domain.conditions.memory import Scope
from domain.conditions.model import PropertyIs
from domain.earned_amounts import sale_of, worth_of
from domain.identities import Stamp
from domain.ids import new_id
from domain.programmes.rules import Money, RatedAmount
from domain.refund_statements import Told
from domain.refunds import Frozen, GivenBack, RefundFact, given_back, refund_of, taken_back

NOW = datetime(2026, 5, 20, tzinfo=UTC)
ANN = new_id()
PER_EURO = RatedAmount(per=Money(amount=100, currency="EUR"), of="properties.subtotal", points=1)


def event(name: str, minutes: int, properties: dict[str, Any]) -> CommerceEvent:
    id_ = new_id()
    return CommerceEvent(id_, name, ANN, Stamp(NOW + timedelta(minutes=minutes), NOW, id_), properties, trusted=True)


def order(**properties: Any) -> OrderFold:
    told = {"order_id": "o-1", "currency": "EUR", **properties}
    fold = fold_order(None, event("Order Completed", 0, told), "EUR")
    assert fold is not None
    return fold


def refund(minutes: int = 1, **properties: Any) -> RefundFact:
    found = refund_of(event("Order Refunded", minutes, {"order_id": "o-1", **properties}), "EUR")
    assert found is not None
    return found


def back(sold: OrderFold, *refunds: RefundFact) -> tuple[int, float | Fraction]:
    found = given_back(sold, refunds)
    return found.refunded, found.returned


def points_left(properties: dict[str, Any], *refunds: RefundFact, earned: int | None = None) -> int:
    """Of a point per euro of the subtotal."""
    told = {"order_id": "o-1", "currency": "EUR", **properties}
    worth = worth_of(PER_EURO, sale_of(told, "EUR"), Scope(as_of=NOW))
    points = int(worth.points)  # type: ignore[union-attr]  # counted: the order is in euros
    frozen = Frozen(points, worth.basis, worth.currency, worth.shares)  # type: ignore[union-attr]  # the same
    assert earned is None or points == earned
    return points - taken_back(frozen, order(**properties), refunds)


DISCOUNTED = {"subtotal": 100, "discount": 10, "total": 90}
TAXED = {"subtotal": 100, "tax": 20, "shipping": 10, "total": 130}
TWO_SIZES = [
    {"product_id": "shirt", "sku": "S", "price": 10, "quantity": 1},
    {"product_id": "shirt", "sku": "XL", "price": 90, "quantity": 1},
]


def test_nothing_is_given_back_without_a_refund() -> None:
    assert back(order(total=100)) == (0, 0)


def test_a_refund_of_all_that_was_paid_leaves_no_points_of_a_discounted_order() -> None:
    assert points_left(DISCOUNTED, refund(total=90), earned=100) == 0
    assert points_left(DISCOUNTED, refund(total=45)) == 50


def test_an_order_with_a_full_discount_is_returned_by_a_refund_of_nothing() -> None:
    free = {"subtotal": 100, "discount": 100, "total": 0}
    assert points_left(free, refund(total=0), earned=100) == 0
    assert back(order(**free), refund(total=0)) == (0, 1)


def test_of_an_order_with_a_full_discount_the_products_that_came_back_are_returned() -> None:
    free = {"subtotal": 100, "discount": 100, "total": 0, "products": TWO_SIZES}
    assert points_left(free, refund(total=0, products=[{"sku": "S"}])) == 90


def test_a_refund_of_shipping_only_takes_no_points() -> None:
    assert points_left(TAXED, refund(total=10)) == 100
    assert points_left(TAXED, refund(total=4), refund(total=6)) == 100
    assert back(order(**TAXED), refund(total=10)) == (1_000, 0)


def test_shipping_that_a_refund_states_takes_no_points_beside_the_goods() -> None:
    assert points_left(TAXED, refund(total=70, shipping=10)) == 50


def test_half_of_the_goods_with_their_tax_takes_half_of_the_points() -> None:
    assert points_left(TAXED, refund(total=60)) == 50


def test_goods_and_shipping_in_one_unexplained_amount_count_as_goods() -> None:
    """The known limit: 70 of 130, of which 10 were for shipping, is 70 of 120 and takes 58 of 100."""
    assert points_left(TAXED, refund(total=70)) == 42


def test_of_two_sizes_of_one_product_the_one_that_came_back_counts() -> None:
    shirts = {"subtotal": 100, "total": 100, "products": TWO_SIZES}
    assert points_left(shirts, refund(products=[{"product_id": "shirt", "sku": "XL"}])) == 10
    assert points_left(shirts, refund(products=[{"sku": "S"}])) == 90


@pytest.mark.parametrize("names", [{"variant": "XL"}, {"price": 90}, {"price": "90.00"}])
def test_sizes_without_a_sku_are_told_apart_by_variant_or_price(names: dict[str, Any]) -> None:
    lines = [
        {key: value for key, value in {**line, "variant": line["sku"]}.items() if key != "sku"} for line in TWO_SIZES
    ]
    shirts = {"subtotal": 100, "total": 100, "products": lines}
    assert points_left(shirts, refund(products=[{"product_id": "shirt", **names}])) == 10


def test_a_vague_refund_takes_nothing_from_a_precise_one_whichever_came_first() -> None:
    shirts = order(total=100, products=TWO_SIZES)
    vague, precise = {"products": [{"product_id": "shirt"}]}, {"products": [{"sku": "S"}]}
    assert back(shirts, refund(1, **vague), refund(2, **precise)) == (10_000, 1)
    assert back(shirts, refund(2, **vague), refund(1, **precise)) == (10_000, 1)


def test_a_refund_that_names_products_without_prices_is_worth_their_part_of_the_order() -> None:
    sold = order(
        total=60, products=[{"product_id": "tea", "price": 30, "quantity": 2}, {"product_id": "cup", "price": 60}]
    )
    assert back(sold, refund(products=[{"product_id": "tea"}])) == (1_500, Fraction(1, 4))


def test_products_count_and_a_smaller_amount_beside_them_does_not() -> None:
    lines = [{"product_id": "tea", "price": 10, "quantity": 10}]
    assert (
        points_left(
            {"subtotal": 100, "total": 100, "products": lines}, refund(total=1, products=[{"product_id": "tea"}])
        )
        == 90
    )


def test_what_an_amount_gives_back_beyond_its_products_counts_too() -> None:
    lines = [{"product_id": "tea", "price": 10, "quantity": 10}]
    assert (
        points_left(
            {"subtotal": 100, "total": 100, "products": lines}, refund(total=15, products=[{"product_id": "tea"}])
        )
        == 85
    )


def test_no_more_pieces_come_back_than_were_bought() -> None:
    sold = order(total=15, products=[{"product_id": "tea", "price": 10}, {"product_id": "cup", "price": 5}])
    assert back(sold, refund(products=[{"product_id": "cup", "quantity": 7}])) == (500, Fraction(1, 3))


def test_products_of_another_order_without_an_amount_take_nothing() -> None:
    sold = order(total=15, products=[{"product_id": "tea", "price": 15}])
    assert back(sold, refund(products=[{"product_id": "kettle", "price": 15}])) == (0, 0)
    assert back(sold, refund(total=3, products=[{"product_id": "kettle"}])) == (300, Fraction(1, 5))


def test_the_same_refund_id_twice_counts_once_and_as_it_was_stated_last() -> None:
    sold = order(total=100)
    assert back(sold, refund(1, refund_id="r-1", total=30), refund(2, refund_id="r-1", total=30)) == (
        3_000,
        Fraction(3, 10),
    )
    assert back(sold, refund(2, refund_id="r-1", total=20), refund(1, refund_id="r-1", total=30)) == (
        2_000,
        Fraction(1, 5),
    )
    assert back(sold, refund(1, refund_id=7, total=30), refund(2, refund_id=7.0, total=30))[0] == 3_000
    assert back(sold, refund(1, refund_id=1, total=30), refund(2, refund_id=" 1.0", total=30))[0] == 3_000
    assert back(sold, refund(total=30), refund(total=30))[0] == 6_000


def test_a_refund_of_minus_ten_is_a_refund_of_ten() -> None:
    assert back(order(total=100), refund(total=-10)) == (1_000, Fraction(1, 10))
    assert back(order(total=100), refund(total="-10.00")) == (1_000, Fraction(1, 10))
    lines = [{"product_id": "tea", "price": 50, "quantity": 2}]
    returned = {"product_id": "tea", "price": -50, "quantity": -1}
    assert back(order(total=100, products=lines), refund(products=[returned])) == (5_000, Fraction(1, 2))


@pytest.mark.parametrize("amount", ["10,00", "ten", "", True, ["10"], {"amount": 10}, [], {}, "NaN", 1e300])
def test_an_amount_that_cannot_be_read_refunds_nothing(amount: Any) -> None:
    """It was stated, so it is not absent; which would be a refund of everything."""
    found = refund(total=amount)
    assert found.told is Told.UNREADABLE
    assert back(order(total=100), found) == (0, 0)


def test_an_unreadable_amount_leaves_its_products_their_worth() -> None:
    sold = order(total=100, products=[{"product_id": "tea", "price": 50, "quantity": 2}])
    assert back(sold, refund(total="50,00", products=[{"product_id": "tea"}])) == (5_000, Fraction(1, 2))


@pytest.mark.parametrize("name", ["total", "amount", "value", "revenue", "refund_amount", "refund_total"])
def test_the_amount_is_read_wherever_shops_say_it(name: str) -> None:
    assert back(order(total=100), refund(**{name: 25})) == (2_500, Fraction(1, 4))


def test_the_first_amount_that_is_stated_is_meant() -> None:
    assert back(order(total=100), refund(total=None, amount=25, value=50)) == (2_500, Fraction(1, 4))
    assert back(order(total=100), refund(total="?", amount=25)) == (0, 0)
    assert back(order(total=100), refund(total=100, refund_amount=25)) == (2_500, Fraction(1, 4))


def test_another_currency_is_not_counted_and_its_products_are() -> None:
    sold = order(total=100, products=[{"product_id": "tea", "price": 50, "quantity": 2}])
    assert back(sold, refund(total=50, currency="USD")) == (0, 0)
    assert back(sold, refund(total=50, currency="USD", products=[{"product_id": "tea"}])) == (5_000, Fraction(1, 2))
    assert back(sold, refund(total=50, currency="eur")) == (5_000, Fraction(1, 2))


def test_an_amount_without_a_currency_is_in_the_orders() -> None:
    assert back(order(total=6_000, currency="JPY"), refund(total=3_000)) == (3_000, Fraction(1, 2))


def test_a_refund_that_says_nothing_and_a_cancellation_return_everything() -> None:
    assert back(order(total=100), refund()) == (10_000, 1)
    assert back(order(total=100), refund(total=None, products=[], currency="EUR")) == (10_000, 1)
    cancelled = fold_order(order(total=100), event("Order Cancelled", 5, {"order_id": "o-1"}), "EUR")
    assert cancelled is not None
    assert given_back(cancelled, []).returned == 1


@pytest.mark.parametrize("products", ["tea", ["tea"], [None], {"product_id": "tea"}, {}, [{"quantity": "some"}]])
def test_products_that_cannot_be_read_are_not_everything(products: Any) -> None:
    sold = order(total=100, products=[{"product_id": "tea", "price": 100}])
    assert back(sold, refund(products=products)) == (0, 0)


@pytest.mark.parametrize("amounts", [{"total": 100}, {"total": 100, "shipping": 10}, {}])
def test_a_refund_that_names_its_shipping_alone_takes_no_goods(amounts: dict[str, Any]) -> None:
    assert back(order(**amounts), refund(shipping=5)) == (500, 0)
    assert back(order(**amounts), refund(shipping="free")) == (0, 0)


def test_pieces_that_cannot_be_read_come_back_not_at_all() -> None:
    sold = order(total=100, products=[{"product_id": "tea", "price": 50, "quantity": "2"}])
    assert back(sold, refund(products=[{"product_id": "tea", "quantity": "half"}])) == (0, 0)
    assert back(sold, refund(products=[{"product_id": "tea", "quantity": "1"}])) == (5_000, Fraction(1, 2))
    assert back(sold, refund(products=[{"product_id": "tea", "quantity": 2.0}])) == (10_000, 1)


def test_a_negative_line_of_an_order_takes_from_what_it_earns_and_cannot_be_returned() -> None:
    swapped = [{"product_id": "tea", "price": 60}, {"product_id": "cup", "price": 20, "quantity": -1}]
    by_lines = RatedAmount(per=Money(amount=100, currency="EUR"), lines=[], points=1)
    worth = worth_of(by_lines, sale_of({"products": swapped}, "EUR"), Scope(as_of=NOW))
    assert worth.points == 40  # type: ignore[union-attr]  # counted: euros
    assert [share.amount for share in worth.shares] == [4_000, 0]  # type: ignore[union-attr]  # the same
    sold = order(total=40, products=swapped)
    assert back(sold, refund(products=[{"product_id": "cup"}])) == (0, 0)
    assert back(sold, refund(products=[{"product_id": "tea"}])) == (4_000, 1)


def test_more_comes_back_by_negative_lines_than_was_bought_and_nothing_is_earned() -> None:
    by_lines = RatedAmount(per=Money(amount=100, currency="EUR"), lines=[], points=1)
    returned = [{"product_id": "tea", "price": 10}, {"product_id": "cup", "price": 20, "quantity": -1}]
    assert worth_of(by_lines, sale_of({"products": returned}, "EUR"), Scope(as_of=NOW)).points == 0  # type: ignore[union-attr]  # counted


@pytest.mark.parametrize(
    ("amounts", "expected"),
    [
        ({"revenue": 50}, (1_000, Fraction(1, 5))),
        ({"products": [{"product_id": "tea", "price": 25, "quantity": 2}]}, (1_000, Fraction(1, 5))),
        ({"subtotal": 50}, (1_000, Fraction(1, 5))),
        ({"total": "about 50", "revenue": 50}, (1_000, Fraction(1, 5))),
        ({}, (1_000, Fraction(1))),
        ({"products": [{"product_id": "tea"}]}, (1_000, Fraction(1))),
    ],
)
def test_without_a_total_the_next_amount_counts_and_without_any_the_first_refund_is_everything(
    amounts: dict[str, Any], expected: tuple[int, Fraction]
) -> None:
    assert back(order(**amounts), refund(total=10)) == expected


def test_an_order_is_partly_refunded_until_nothing_is_left_of_its_goods() -> None:
    sold = order(**TAXED)
    states = []
    for refunds in ([], [refund(total=10)], [refund(total=60)], [refund(total=130)]):
        found = given_back(sold, refunds)
        states.append(sold.state(found.refunded, found.returned))
    partly = OrderState.PARTIALLY_REFUNDED
    assert states == [OrderState.COMPLETED, partly, partly, OrderState.REFUNDED]


def test_lines_that_did_not_earn_take_nothing_back() -> None:
    lines = [{"product_id": "tea", "price": 10, "category": "tea"}, {"product_id": "cup", "price": 5}]
    on_tea = RatedAmount(
        per=Money(amount=100, currency="EUR"), points=1, lines=[PropertyIs(property="category", eq="tea")]
    )
    worth = worth_of(on_tea, sale_of({"products": lines}, "EUR"), Scope(as_of=NOW))
    frozen = Frozen(10, worth.basis, worth.currency, worth.shares)  # type: ignore[union-attr]  # counted: euros
    sold = order(total=15, products=lines)
    assert taken_back(frozen, sold, [refund(products=[{"product_id": "cup"}])]) == 0
    assert taken_back(frozen, sold, [refund(products=[{"product_id": "tea"}])]) == 10


@pytest.mark.parametrize(("earned", "basis"), [(100, 7), (10, 3)])
def test_seven_returns_of_a_seventh_take_exactly_everything(earned: int, basis: int) -> None:
    """Open Loyalty 3 rounds each return by itself: 100 points on 7 came to 100.03, 10 on 3 to 9.99 (R3)."""
    sold, frozen = order(total=basis), Frozen(earned, basis * 100, "EUR")
    steps = [taken_back(frozen, sold, [refund(total=1) for _ in range(count)]) for count in range(basis + 1)]

    assert steps[-1] == earned
    taken = [later - sooner for sooner, later in pairwise(steps)]
    assert taken == ([14, 14, 14, 15, 14, 14, 15] if basis == 7 else [3, 3, 4])


def test_of_two_refunds_of_one_instant_the_one_that_was_sent_first_comes_first() -> None:
    """One piece is left: the first of the two vague refunds has it, and the other's amount is loose."""
    sold = order(total=100, products=[{"product_id": "tea", "price": 60}, {"product_id": "cup", "price": 40}])
    told = [refund(total=10, products=[{"product_id": "cup"}]), refund(total=90, products=[{"product_id": "cup"}])]
    ends = {given_back(sold, each) for each in permutations(told)}
    assert len(ends) == 1


def test_an_order_that_no_event_of_orders_told_about_is_known_by_its_decision() -> None:
    lines = [{"product_id": "tea", "price": 60}, {"product_id": "cup", "price": 40}]
    worth = worth_of(PER_EURO, sale_of({"subtotal": 100, "products": lines}, "EUR"), Scope(as_of=NOW))
    frozen = Frozen(100, worth.basis, worth.currency, worth.shares)  # type: ignore[union-attr]  # counted: euros
    unknown = frozen.as_order("o-1", ANN)
    assert taken_back(frozen, unknown, [refund(total=25)]) == 25
    assert taken_back(frozen, unknown, [refund(total=60, products=[{"product_id": "tea"}])]) == 60
    assert given_back(unknown, []) == GivenBack()
