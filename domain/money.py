"""Money as integer minor units of a currency.

Shops send decimal major units, often as floats such as 14.280000000000001.
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Decimal, DecimalException
from typing import Any

from babel.numbers import get_currency_precision, list_currencies

UNKNOWN_CURRENCY = "XXX"
"""ISO 4217's code for none: a currency was stated and cannot be read. It is no shop's, so nothing is counted in it."""

SPELLINGS = {"€": "EUR", "EURO": "EUR", "EUROS": "EUR", "US$": "USD", "£": "GBP"}
"""What else shops write for one currency only. `$` and `¥` are several."""

BLANKS = " \t\n\r\v\f\xa0"
"""What may stand around a currency or an id."""

CODES = frozenset(list_currencies())
CODE = "^([A-Z]{3}|[a-z]{3}|[A-Z][a-z]{2})$"
"""A code as shops write it. GBp is none: those are pence."""

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
    """Decimal major units: a number, or one in a text; None if it is no amount of money.

    Python reads 49_90 as 4990; nobody who writes it means that.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    if isinstance(value, str) and "_" in value:
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
    """An ISO 4217 code as shops write it; None where nothing is stated, XXX for what cannot be read or is no currency.

    The same in SQL: database/condition_amounts.py.
    """
    if value is None:
        return None
    written = value.strip(BLANKS) if isinstance(value, str) else ""
    code = written.upper()
    if code in SPELLINGS:
        return SPELLINGS[code]
    return code if code in CODES and re.match(CODE, written) else UNKNOWN_CURRENCY


def currency_of(value: Any, default: str) -> str:
    """The same; `default` where nothing is stated, never for what cannot be read."""
    return stated_currency(value) or default
