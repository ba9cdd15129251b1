"""The customer's open cart in memory: `cart`, as of the moment of the scope."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

from domain.carts import Cart, CartState, cart_id_of
from domain.conditions.dates import shifted
from domain.conditions.figures import Figure, compile_figure
from domain.conditions.history import History
from domain.conditions.model import CartIs
from domain.conditions.operators import Operator
from domain.conditions.scope import Scope
from domain.conditions.values import ORDER
from domain.durations import parse_duration

OLDER = {Operator.GT: Operator.LT, Operator.GTE: Operator.LTE, Operator.LT: Operator.GT, Operator.LTE: Operator.GTE}
"""How the time of the last change compares with the time so long ago, for how the age compares with a length."""


def compile_cart(condition: CartIs) -> Callable[[History, Scope], bool]:
    """A function that compares a figure of the open cart; without one it is missing."""
    if condition.cart == "age":
        return _compile_age(condition)
    holds = compile_figure(condition.comparison)

    def judge(history: History, scope: Scope) -> bool:
        cart = open_cart(history.carts, scope)
        return holds(None if cart is None else _figure(condition, cart, history.currency), scope)

    return judge


def open_cart(carts: Iterable[Cart], scope: Scope) -> Cart | None:
    """The cart that the entry event names, else the one that changed last, as in mails; only carts not ordered yet."""
    properties = (scope.entry or {}).get("properties")
    named = cart_id_of(properties) if isinstance(properties, dict) else ""
    found = [cart for cart in carts if cart.state is not CartState.ORDERED and named in ("", cart.cart_id)]
    return max(found, key=lambda cart: cart.changed, default=None)


def _figure(condition: CartIs, cart: Cart, shop_currency: str) -> Figure:
    if condition.cart == "items":
        return Fraction(sum(line.get("quantity") or 0 for line in cart.lines))
    wanted = condition.currency or shop_currency
    amounts = [_amount(line, wanted, shop_currency) for line in cart.lines]
    known = [amount for amount in amounts if amount is not None]
    return Fraction(sum(known)) if len(known) == len(amounts) else None


def _amount(line: Any, wanted: str, shop_currency: str) -> int | None:  # a line of a cart
    """Amounts of another currency are never added: with one of them the total is not known."""
    price = line.get("price")
    return (
        price * (line.get("quantity") or 0)
        if price is not None and (line.get("currency") or shop_currency) == wanted
        else None
    )


def _compile_age(condition: CartIs) -> Callable[[History, Scope], bool]:
    operator, operand, _ = condition.comparison

    def judge(history: History, scope: Scope) -> bool:
        cart = open_cart(history.carts, scope)
        if operator is Operator.EXISTS:
            return (cart is not None) is operand
        return cart is not None and all(
            ORDER[OLDER[each]](cart.changed.timestamp, shifted(scope.as_of, parse_duration(length), -1, scope.zone))
            for each, length in condition.ages
        )

    return judge
