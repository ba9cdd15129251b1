"""What an `Order Refunded` says of how much came back, and whether anybody understands it.

Only an event that says nothing of it returns everything: what is stated and not understood returns nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from domain.money import amount_of

REFUND_AMOUNTS: Final = (
    *("refund_amount", "refund_total", "amount_refunded", "refunded_amount"),
    *("total", "amount", "value", "revenue"),
)
"""Where shops say how much a refund gives back: the first that says anything is meant. Names of the refund itself come
first, since a `total` beside them may be the order's.
"""
SHIPPING: Final = "shipping"
_PRODUCTS: Final = "products"


class Told(StrEnum):
    """What a refund says of its amount. What cannot be read is not what was never said."""

    ABSENT = "absent"
    UNREADABLE = "unreadable"
    STATED = "stated"


@dataclass(frozen=True, slots=True)
class Statement:
    """How much a refund says that it gives back, without its sign, and `place`, the property that says so."""

    told: Told
    amount: Decimal | None = None
    place: str | None = None


def statement_of(properties: Mapping[str, Any]) -> Statement:
    """What a refund says of its amount: by one of its names, or by its shipping where it says nothing else.

    Products that can be read need no amount: they are worth their part of the order.
    """
    for name in REFUND_AMOUNTS:
        if properties.get(name) is not None:
            return _amount(name, properties[name])
    products = properties.get(_PRODUCTS)
    if products not in (None, []):
        is_read = isinstance(products, list) and any(isinstance(each, Mapping) for each in products)
        return Statement(Told.ABSENT) if is_read else Statement(Told.UNREADABLE, place=_PRODUCTS)
    unknown = _not_understood({name: value for name, value in properties.items() if name not in _UNDERSTOOD})
    if unknown is not None:
        return Statement(Told.UNREADABLE, place=unknown)
    if properties.get(SHIPPING) is not None:
        return _amount(SHIPPING, properties[SHIPPING])
    return Statement(Told.ABSENT)


_UNDERSTOOD = frozenset({*REFUND_AMOUNTS, SHIPPING, _PRODUCTS})


def _amount(name: str, value: Any) -> Statement:
    amount = amount_of(value)
    if amount is None:
        return Statement(Told.UNREADABLE, place=name)
    return Statement(Told.STATED, abs(amount), name)


# What nobody understands ---------------------------------------------------------------------------------


def _singular(words: str) -> frozenset[str]:
    return frozenset(word.removesuffix("s") for word in words.split())


_GOODS = _singular("product item line sku variant goods article piece unit quantity qty")
_MONEY = _singular(
    "amount total subtotal sum price cost value revenue tax vat discount shipping fee money paid net gross refund"
    " refunded returned part partial share percent percentage"
)
_NEUTRAL = _singular(
    "id uuid number no reference ref key code coupon currency reason note comment message description affiliation shop"
    " store location register channel source method gateway type status state date day time timestamp at by email phone"
    " name user customer agent address country language locale zip postcode ip url version order invoice transaction"
    " receipt ticket session created updated processed"
)
"""Last words of names that say whose, when, where or why, and not how much: `refund_id`, `refunded_at`, `reason`."""

_KINDS = _singular("type kind status state")

_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
_LIKE_AMOUNT = re.compile(r"\W*[A-Za-z]{0,3}\W*\d[\d.,'’_\s]*\W*[A-Za-z]{0,4}\W*")
_PARTIAL = "partial"


def _not_understood(properties: Mapping[str, Any]) -> str | None:
    """The first property that names an amount or lines, by its name or by what stands there; None if none does."""
    return next((name for name, value in properties.items() if _says_how_much(name, value)), None)


def _says_how_much(name: str, value: Any) -> bool:
    words = [word.lower().removesuffix("s") for word in _WORDS.findall(name)]
    if value is None or value == []:
        return False
    if isinstance(value, bool):  # a flag: {"partial": true}
        return value and any(word.startswith(_PARTIAL) for word in words)
    if isinstance(value, str) and words and words[-1] in _KINDS and value.strip().lower().startswith(_PARTIAL):
        return True
    if not _GOODS.isdisjoint(words):
        return True
    if words and words[-1] in _NEUTRAL:
        return False
    return not _MONEY.isdisjoint(words) or _looks_like_amount(value)


def _looks_like_amount(value: Any) -> bool:
    match value:
        case str():
            return _LIKE_AMOUNT.fullmatch(value) is not None
        case list():
            return any(_looks_like_amount(each) for each in value if isinstance(each, Mapping))
        case Mapping():
            return _not_understood(value) is not None
        case _:
            return True
