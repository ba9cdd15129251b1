"""Money is taken in from decimal major units, however shops write them, and kept as whole minor units."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.money import currency_of, minor_units


@pytest.mark.parametrize(
    ("amount", "currency", "expected"),
    [
        (49.90, "EUR", 4990),
        (14.280000000000001, "EUR", 1428),
        (2.675, "EUR", 268),
        (2.665, "EUR", 266),
        (0.005, "EUR", 0),
        (0.015, "EUR", 2),
        (-0.015, "EUR", -2),
        ("49.90", "EUR", 4990),
        (1200, "JPY", 1200),
        (1200.5, "JPY", 1200),
        (1201.5, "JPY", 1202),
        (1.2345, "KWD", 1234),
        (1.2355, "KWD", 1236),
        (0, "EUR", 0),
    ],
)
def test_amounts_round_half_even_to_the_minor_unit_of_their_currency(amount: Any, currency: str, expected: int) -> None:
    assert minor_units(amount, currency) == expected


@pytest.mark.parametrize(
    "amount",
    [
        None,
        True,
        "",
        "ten",
        "NaN",
        "Infinity",
        "0x10",
        "1e999999",
        "9e999999999",
        1e300,
        10**30,
        [],
        {},
        "49_90",
        "1_000",
    ],
)
def test_what_is_no_amount_is_none_and_never_an_error(amount: Any) -> None:
    assert minor_units(amount, "EUR") is None


@given(st.decimals(-(10**12), 10**12, places=6), st.sampled_from(["JPY", "EUR", "KWD"]))
def test_numbers_and_texts_agree_with_exact_decimal_arithmetic(amount: Decimal, currency: str) -> None:
    digits = {"JPY": 0, "EUR": 2, "KWD": 3}[currency]
    exact = int((amount * 10**digits).to_integral_value(rounding=ROUND_HALF_EVEN))
    assert minor_units(str(amount), currency) == exact


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *[("eur", "EUR"), (" USD ", "USD"), ("Euro", "EUR"), ("€", "EUR"), ("US$", "USD"), ("£", "GBP")],
        *[("Eur", "EUR"), ("XAF", "XAF"), ("DEM", "DEM"), (None, "CHF"), ("", "XXX"), ([], "XXX"), ({}, "XXX")],
        *[("yen", "XXX"), ("SFr", "XXX"), ("RMB", "XXX"), ("BTC", "XXX"), ("ERU", "XXX"), ("GBp", "XXX")],
        *[("$", "XXX"), ("€€€", "XXX"), (5, "XXX"), ("dollars", "XXX"), (["EUR"], "XXX"), (" ", "XXX")],
    ],
)
def test_a_currency_that_is_stated_is_recognised_or_none_and_never_the_shops(value: Any, expected: str) -> None:
    assert currency_of(value, "CHF") == expected


@pytest.mark.parametrize(("currency", "digits"), [("EUR", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4), ("XXX", 2), ("", 2)])
def test_minor_units_are_those_of_messages(currency: str, digits: int) -> None:
    assert minor_units(1, currency) == 10**digits
