"""Discounts: never below nothing, exact to the cent, the same in whatever order lines and codes come (invariant 10)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.coupons import (
    Cart,
    CartLine,
    CouponState,
    Offered,
    Refusal,
    Standing,
    allocate,
    normal_code,
    price_cart,
    refusal_of,
    returned_share,
)
from domain.rewards import RewardDefinition

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
EUR = "EUR"


def offered(code: str, *, balance: int | None = None, **reward: Any) -> Offered:
    document = {"reward": f"reward-{code.lower()}", "gives": {"percent": 10}, **reward}
    return Offered(code, RewardDefinition.model_validate(document), balance)


def euros(amount: int) -> dict[str, Any]:
    return {"amount": amount, "currency": EUR}


def cart(*prices: int, shipping: int = 0, quantity: int = 1) -> Cart:
    lines = tuple(CartLine(price, quantity, {"product_id": f"p{place}"}) for place, price in enumerate(prices))
    return Cart(EUR, lines, shipping)


def test_a_percentage_is_rounded_once_for_the_cart_and_shared_to_the_cent() -> None:
    # A tenth of 10.01 is 1.001, so one euro off: by largest remainder 33.4 -> 33, 33.4 -> 33 and 33.3 -> 33, one left.
    priced = price_cart(cart(334, 334, 333), [offered("TEN")])

    [applied] = priced.applied
    assert applied.discount == 100
    assert sorted(applied.shares) == [33, 33, 34]
    assert applied.shares[2] == 33  # the smallest remainder gets nothing


def test_half_a_cent_is_rounded_to_the_even_one() -> None:
    discounts = [price_cart(cart(price), [offered("TEN")]).discount for price in (5, 15, 25, 35)]

    assert discounts == [0, 2, 2, 4]


def test_a_fixed_amount_takes_no_more_than_the_cart_costs() -> None:
    priced = price_cart(cart(300, shipping=500), [offered("FIVE", gives={"amount": euros(500)})])

    assert priced.discount == 300


def test_free_shipping_leaves_the_lines_alone_and_may_be_capped() -> None:
    priced = price_cart(cart(300, shipping=700), [offered("SHIP", gives={"free_shipping": True, "most": euros(500)})])

    assert [(each.shares, each.shipping) for each in priced.applied] == [((0,), 500)]


def test_of_one_group_only_the_best_counts_and_groups_add_up() -> None:
    codes = [
        offered("TEN", stacking="order"),
        offered("FIFTEEN", gives={"percent": 15}, stacking="order"),
        offered("SHIP", gives={"free_shipping": True}, stacking="shipping"),
    ]

    priced = price_cart(cart(1_000, shipping=490), codes)

    assert priced.discount == 150 + 490
    assert priced.refused == {"TEN": Refusal.NOT_COMBINABLE}


@pytest.mark.parametrize(("alone", "expected"), [(30, {"ALONE"}), (10, {"A", "B"})])
def test_a_coupon_that_stands_alone_counts_only_when_it_is_worth_more_than_the_others_together(
    alone: int, expected: set[str]
) -> None:
    codes = [
        offered("ALONE", gives={"percent": alone}),
        offered("A", stacking="a", gives={"percent": 10}),
        offered("B", stacking="b", gives={"amount": euros(50)}),
    ]

    priced = price_cart(cart(1_000), codes)

    assert {each.code for each in priced.applied} == expected
    assert set(priced.refused) == {"ALONE", "A", "B"} - expected


def test_a_gift_card_pays_last_also_beside_a_coupon_that_stands_alone() -> None:
    codes = [offered("CARD", gives={"gift_card": euros(5_000)}, balance=800), offered("TEN")]

    priced = price_cart(cart(1_000, shipping=200), codes)

    assert [(each.code, each.discount) for each in priced.applied] == [("TEN", 100), ("CARD", 800)]


def test_ten_coupons_of_half_the_price_leave_something_to_pay() -> None:
    """medusa PR 15532, vendure 2385: stacked coupons made a total below zero."""
    codes = [offered(f"HALF{n}", gives={"percent": 50}, stacking=f"g{n}") for n in range(10)]

    priced = price_cart(cart(1_000), codes)

    # 500 250 125 62 32 16 8 4 2 0: half-even of 62.5 is 62, of 31.5 is 32 (of 63 - 32 = 31: 15.5 -> 16)
    assert 0 <= priced.discount <= 1_000
    assert [each.discount for each in priced.applied][:4] == [500, 250, 125, 62]


def test_a_coupon_for_some_products_comes_off_their_lines_alone() -> None:
    basket = Cart(EUR, (CartLine(1_000, 1, {"category": "tea"}), CartLine(500, 2, {"category": "coffee"})))
    only: dict[str, Any] = {"lines": [{"property": "category", "eq": "coffee"}]}

    assert price_cart(basket, [offered("TEN", **only)]).applied[0].shares == (0, 100)
    assert price_cart(cart(1_000), [offered("TEN", **only)]).refused == {"TEN": Refusal.NO_MATCHING_LINE}


@pytest.mark.parametrize(
    ("reward", "reason"),
    [
        ({"minimum": euros(1_001)}, Refusal.BELOW_MINIMUM),
        ({"gives": {"amount": {"amount": 5, "currency": "USD"}}}, Refusal.CURRENCY_MISMATCH),
        ({"gives": {"points_multiplier": 2, "lasts": "7d"}}, Refusal.NOT_ON_ORDERS),
        ({"gives": {"free_shipping": True}}, Refusal.NOTHING_LEFT),
    ],
)
def test_a_coupon_that_is_not_good_for_the_cart_says_why(reward: dict[str, Any], reason: Refusal) -> None:
    assert price_cart(cart(1_000), [offered("CODE", **reward)]).refused == {"CODE": reason}


@pytest.mark.parametrize(
    ("reward", "reason"),
    [
        ({}, None),
        ({"gives": {"free_shipping": True}}, None),
        ({"gives": {"amount": {"amount": 5, "currency": "USD"}}}, None),
        ({"minimum": euros(1_001)}, Refusal.CART_NEEDED),
        ({"lines": [{"property": "category", "eq": "tea"}]}, Refusal.CART_NEEDED),
        ({"gives": {"gift_card": euros(500)}}, Refusal.CART_NEEDED),
        ({"gives": {"points_multiplier": 2, "lasts": "7d"}}, Refusal.NOT_ON_ORDERS),
    ],
)
def test_a_code_counts_without_a_cart_where_it_is_good_for_any(reward: dict[str, Any], reason: Refusal | None) -> None:
    priced = price_cart(Cart(EUR, (), is_shown=False), [offered("CODE", **reward)])

    assert [each.code for each in priced.applied] == ([] if reason else ["CODE"])
    assert priced.refused == ({"CODE": reason} if reason else {})


def test_of_several_codes_without_a_cart_nobody_can_say_which_count() -> None:
    priced = price_cart(Cart(EUR, (), is_shown=False), [offered("ONE"), offered("TWO")])

    assert (priced.applied, set(priced.refused.values())) == ((), {Refusal.CART_NEEDED})


# Properties ----------------------------------------------------------------------------------------------

GIVES = st.one_of(
    st.builds(lambda percent: {"percent": percent}, st.sampled_from([1, 5, 12.5, 33.3, 50, 99, 100])),
    st.builds(lambda amount: {"amount": euros(amount)}, st.integers(1, 20_000)),
    st.just({"free_shipping": True}),
    st.builds(lambda amount: {"gift_card": euros(amount)}, st.integers(1, 20_000)),
)
CODES = st.lists(
    st.builds(
        lambda name, gives, group: offered(name, gives=gives, stacking=group),
        st.text("ABCDEF", min_size=3, max_size=5),
        GIVES,
        st.sampled_from([None, "a", "b", "c"]),
    ),
    max_size=6,
    unique_by=lambda offer: offer.code,
)
LINES = st.lists(
    st.builds(
        lambda price, quantity, product: CartLine(price, quantity, {"product_id": product}),
        st.integers(0, 100_000),
        st.integers(0, 20),
        st.sampled_from("abcd"),
    ),
    max_size=50,
)


@given(lines=LINES, shipping=st.integers(0, 5_000), codes=CODES)
def test_no_cart_ever_costs_less_than_nothing_and_no_line_either(
    lines: list[CartLine], shipping: int, codes: list[Offered]
) -> None:
    basket = Cart(EUR, tuple(lines), shipping)

    priced = price_cart(basket, codes)

    assert 0 <= priced.discount <= basket.subtotal + shipping
    for place, line in enumerate(lines):
        assert 0 <= sum(each.shares[place] for each in priced.applied) <= line.amount
    assert {each.code for each in priced.applied} | set(priced.refused) == {offer.code for offer in codes}


@given(lines=LINES, shipping=st.integers(0, 5_000), codes=CODES, random=st.randoms(use_true_random=False))
def test_the_order_of_lines_and_codes_means_nothing(
    lines: list[CartLine], shipping: int, codes: list[Offered], random: Any
) -> None:
    shuffled, other_codes = list(lines), list(codes)
    random.shuffle(shuffled)
    random.shuffle(other_codes)

    one = price_cart(Cart(EUR, tuple(lines), shipping), codes)
    other = price_cart(Cart(EUR, tuple(shuffled), shipping), other_codes)

    assert one.refused == other.refused
    assert [(each.code, each.discount, each.shipping) for each in one.applied] == [
        (each.code, each.discount, each.shipping) for each in other.applied
    ]
    for first, second in zip(one.applied, other.applied, strict=True):
        assert sorted(zip(map(repr, lines), first.shares, strict=True)) == sorted(
            zip(map(repr, shuffled), second.shares, strict=True)
        )


@given(weights=st.lists(st.integers(0, 10**9), min_size=1, max_size=50), part=st.fractions(0, 1))
def test_shares_sum_exactly_and_none_exceeds_its_line(weights: list[int], part: Any) -> None:
    """solidus 512: the shares of a discount lost a cent."""
    amount = int(sum(weights) * part)

    shares = allocate(amount, weights, list(range(len(weights))))

    assert sum(shares) == amount
    assert all(0 <= share <= weight for share, weight in zip(shares, weights, strict=True))


@given(share=st.integers(0, 10**6), returns=st.lists(st.integers(1, 5), min_size=1, max_size=20))
def test_any_way_of_returning_a_line_gives_its_frozen_share_back_once(share: int, returns: list[int]) -> None:
    """vendure 4811: on a partial refund the discount was shared out again over the lines that stayed."""
    quantity, before, given_back = sum(returns), 0, 0
    for now in returns:
        given_back += returned_share(share, quantity, before=before, now=now)
        before += now

    assert given_back == share


# Who may use a code --------------------------------------------------------------------------------------

OWNER = uuid4()
FREE = {"state": CouponState.ACTIVE, "valid_from": None, "valid_until": None, "owner": None}


def standing(**changes: Any) -> Standing:
    return Standing(**{**FREE, "uses": None, "uses_per_customer": None, **changes})


@pytest.mark.parametrize(
    ("coupon", "reason"),
    [
        (standing(), None),
        (standing(state=CouponState.POOLED), Refusal.UNKNOWN),
        (standing(state=CouponState.RESERVED), Refusal.UNKNOWN),
        (standing(state=CouponState.VOID), Refusal.VOID),
        (standing(valid_from=NOON + timedelta(seconds=1)), Refusal.NOT_YET_VALID),
        (standing(valid_from=NOON), None),
        (standing(valid_until=NOON), Refusal.EXPIRED),
        (standing(valid_until=NOON + timedelta(seconds=1)), None),
        (standing(owner=OWNER), None),
        (standing(owner=uuid4()), Refusal.NOT_YOURS),
        (standing(uses=0), Refusal.USED_UP),
        (standing(uses=3, used=2), None),
        (standing(uses=3, used=3), Refusal.USED_UP),
        (standing(uses_per_customer=1, used_by_customer=1), Refusal.USED_BY_CUSTOMER),
        (standing(has_condition=True, is_eligible=False), Refusal.NOT_ELIGIBLE),
    ],
)
def test_a_code_says_why_it_may_not_be_used(coupon: Standing, reason: Refusal | None) -> None:
    """A limit of 0 is used up, no limit is None: one value for both was a peer's defect (wb-gamification 1.6.4)."""
    assert refusal_of(coupon, OWNER, NOON) is reason


@pytest.mark.parametrize("personal", [{"owner": OWNER}, {"uses_per_customer": 1}, {"has_condition": True}])
def test_a_personal_code_needs_a_customer(personal: dict[str, Any]) -> None:
    assert refusal_of(standing(**personal), None, NOON) is Refusal.CUSTOMER_NEEDED


def test_case_and_blanks_of_a_code_do_not_matter() -> None:
    assert normal_code("  welcome-10 ") == "WELCOME-10"
