"""Money as integer minor units of a currency.

Shops send decimal major units, often as floats such as 14.280000000000001.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, DecimalException
from typing import Any

from babel.numbers import get_currency_precision

UNKNOWN_CURRENCY = "XXX"
"""ISO 4217's code for none: a currency was stated and cannot be read. It is no shop's, so nothing is counted in it."""

SPELLINGS = {"€": "EUR", "EURO": "EUR", "EUROS": "EUR", "US$": "USD", "£": "GBP"}
"""What else shops write for one currency only. `$` and `¥` are several."""

BLANKS = " \t\n\r\v\f\xa0"
"""What may stand around a currency."""

_LARGEST = 2**53
"""Beyond this many minor units an amount is a mistake, not money."""


def minor_units(amount: Any, currency: str) -> int | None:
    """Decimal major units (a number, or one in a text) as minor units, rounded half-even; None if it is no amount."""
    read = amount_of(amount)
    if read is None:
        return None
    exact = read.scaleb(digits_of(currency))
    return None if abs(exact) > _LARGEST else int(exact.to_integral_value(rounding=ROUND_HALF_EVEN))


def amount_of(value: Any) -> Decimal | None:
    """Decimal major units: a number, or one in a text; None if it is no amount of money."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        exact = Decimal(str(value))
        is_sane = exact.is_finite() and abs(exact) <= _LARGEST
    except DecimalException:
        return None
    return exact if is_sane else None


def digits_of(currency: str) -> int:
    """How many decimal digits the currency's minor unit has, by CLDR, as it is written in messages too."""
    return get_currency_precision(currency)


def stated_currency(value: Any) -> str | None:
    """An ISO 4217 code as shops write it; None where nothing is stated, XXX for what cannot be read."""
    if value in (None, "", [], {}):
        return None
    code = value.strip(BLANKS).upper() if isinstance(value, str) else ""
    code = SPELLINGS.get(code, code)
    return code if len(code) == 3 and code.isascii() and code.isalpha() else UNKNOWN_CURRENCY


def currency_of(value: Any, default: str) -> str:
    """The same; `default` where nothing is stated, never for what cannot be read."""
    return stated_currency(value) or default
