"""Conditions on the customer's open cart in SQL; without one they count as missing."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ColumnElement,
    Numeric,
    Text,
    and_,
    case,
    cast,
    column,
    false,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import aliased

from database.condition_values import Ground, Sql, figure_holds, shifted
from database.events import Event
from database.orders import Cart
from database.vouching import is_vouched
from domain.carts import CART_EVENTS, CartState
from domain.commerce import LONGEST_ID, NO_IDS, WHOLE_FLOAT
from domain.conditions.carts import OLDER
from domain.conditions.model import CartIs
from domain.conditions.operators import Operator
from domain.conditions.values import ORDER
from domain.durations import parse_duration
from domain.money import BLANKS


def cart_holds(
    condition: CartIs, customer_id: Sql, ground: Ground, *, currency: str, trusted: bool
) -> ColumnElement[bool]:
    """Whether a figure of the open cart compares so. `trusted`: a cart of which a browser has told is none."""
    if condition.cart == "age":
        return _age_holds(condition, customer_id, ground, trusted=trusted)
    cart = aliased(Cart)
    figure = (
        _items(cart.lines.expression)
        if condition.cart == "items"
        else _total(cart.lines.expression, condition.currency, currency)
    )
    known = cast(_of_open_cart(cart, figure, customer_id, ground, trusted=trusted), Numeric)
    return func.coalesce(figure_holds(known, literal(1, Numeric), condition.comparison, ground), false())


def _age_holds(condition: CartIs, customer_id: Sql, ground: Ground, *, trusted: bool) -> ColumnElement[bool]:
    cart = aliased(Cart)
    changed = _of_open_cart(cart, cart.changed_at.expression, customer_id, ground, trusted=trusted)
    operator, operand, _ = condition.comparison
    if operator is Operator.EXISTS:
        return changed.is_not(None) if operand else changed.is_(None)
    tests: list[Any] = [  # the operators of numbers, here of SQL expressions
        ORDER[OLDER[each]](changed, shifted(ground, parse_duration(age), -1)) for each, age in condition.ages
    ]
    return func.coalesce(and_(true(), *tests), false())


def _of_open_cart(cart: type[Cart], figure: Sql, customer_id: Sql, ground: Ground, *, trusted: bool) -> Sql:
    """A figure of the cart that the entry event names, else of the one that changed last. Relies on pk_carts."""
    named = _named_cart(ground)
    chosen = select(figure).where(
        cart.customer_id == customer_id,
        cart.state != CartState.ORDERED,
        or_(named.is_(None), cart.cart_id == named),
    )
    if trusted:
        chosen = chosen.where(not_(_browsers_told(customer_id)))
    latest = chosen.order_by(cart.changed_at.desc(), cart.changed_sent.desc(), cart.changed_by.desc()).limit(1)
    return latest.correlate_except(cart).scalar_subquery()


def _named_cart(ground: Ground) -> Sql:
    """The id of the cart that the entry event names, as `cart_id_of` reads it; null for none."""
    properties = ground.entry.op("->", return_type=JSONB())(literal("properties", Text))
    stated = properties.op("->", return_type=JSONB())(literal("cart_id", Text))
    text = stated.op("#>>", return_type=Text())(literal_column("'{}'::text[]"))
    number = cast(stated, Numeric)
    whole = case((func.trunc(number) == number, cast(func.trim_scale(number), Text)))
    bare = func.regexp_replace(func.btrim(text, BLANKS), WHOLE_FLOAT, r"\1")
    kind = func.jsonb_typeof(stated)
    id_ = case((kind == "string", bare), (kind == "number", whole))
    return case((and_(func.length(id_).between(1, LONGEST_ID), func.lower(id_).not_in(sorted(NO_IDS))), id_))


def _browsers_told(customer_id: Sql) -> ColumnElement[bool]:
    """Whether a browser has told of any cart of theirs. Relies on ix_events_customer_name."""
    event = aliased(Event)
    told = select(1).where(
        event.customer_id == customer_id,
        event.name.in_(sorted(CART_EVENTS)),
        event.number.is_not(None),
        not_(is_vouched(event)),
    )
    return told.correlate_except(event).exists()


def _items(lines: Sql) -> Sql:
    each = func.jsonb_array_elements(lines).table_valued(column("value", JSONB), joins_implicitly=True)
    counted = func.coalesce(func.sum(cast(each.c.value["quantity"].astext, Numeric)), 0)
    return select(counted).select_from(each).correlate_except(each).scalar_subquery()


def _total(lines: Sql, wanted: str | None, shop_currency: str) -> Sql:
    """Null where a line has no price, or one in another currency."""
    each = func.jsonb_array_elements(lines).table_valued(column("value", JSONB), joins_implicitly=True)
    price, quantity = each.c.value["price"].astext, each.c.value["quantity"].astext
    currency = func.coalesce(each.c.value["currency"].astext, literal(shop_currency, Text))
    counts = and_(price.is_not(None), currency == literal(wanted or shop_currency, Text))
    amount = case((counts, cast(price, Numeric) * cast(quantity, Numeric)))
    known = case((func.coalesce(func.bool_and(counts), true()), func.coalesce(func.sum(amount), 0)))
    return select(known).select_from(each).correlate_except(each).scalar_subquery()
