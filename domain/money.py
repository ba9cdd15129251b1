"""Money as integer minor units of a currency.

Shops send decimal major units, often as floats such as 14.280000000000001.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, DecimalException
from typing import Any

# ISO 4217: the currencies whose minor unit is not a hundredth.
_DIGITS = {
    **dict.fromkeys(
        ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF"), 0
    ),
    **dict.fromkeys(("XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}
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


def is_stated(value: Any) -> bool:
    """Whether a shop says anything there, understood or not: null and what is empty is absent."""
    return value is not None and value not in ([], {})


def digits_of(currency: str) -> int:
    """How many decimal digits the currency's minor unit has."""
    return _DIGITS.get(currency, 2)


def currency_of(value: Any, default: str) -> str:
    """An ISO 4217 code as shops write it, or `default`."""
    code = value.strip().upper() if isinstance(value, str) else ""
    return code if len(code) == 3 and code.isascii() and code.isalpha() else default
