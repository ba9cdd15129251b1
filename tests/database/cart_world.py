"""Carts of the random customers of condition_world.py, stored and as the evaluator in memory sees them."""

from __future__ import annotations

from datetime import datetime
from random import Random
from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from sqlalchemy import insert

from database.orders import Cart as CartRow
from database.session import WriteSession
from domain.carts import Cart, CartState
from domain.identities import Stamp

CART_IDS = ["", "c1", "7"]
NAMED: list[dict[str, Any]] = [
    {},
    {},
    {"cart_id": "c1"},
    {"cart_id": ""},
    {"cart_id": 7},
    {"cart_id": 7.0},
    {"cart_id": 7.5},
    {"cart_id": " 7.0\u00a0"},
    {"cart_id": "Undefined"},
    {"cart_id": None},
]
"""What entry events say of the cart."""


def carts_of(random: Random, customer_id: UUID, moments: list[datetime]) -> list[Cart]:
    """Somebody's carts; often none."""
    return [
        Cart(
            cart_id,
            random.choice(list(CartState)),
            [_line(random) for _ in range(random.randrange(3))],
            Stamp(random.choice(moments), random.choice(moments), UUID(int=customer_id.int ^ position)),
        )
        for position, cart_id in enumerate(random.sample(CART_IDS, random.randrange(4)))
    ]


def _line(random: Random) -> dict[str, Any]:
    currencies: list[dict[str, str]] = [{}, {}, {"currency": "EUR"}, {"currency": "EUR"}, {"currency": "JPY"}]
    currency = random.choice(currencies)
    price = random.choice([0, 100, 100, 4_999, None])
    return {"product_id": "p", "price": price, "quantity": random.randrange(1, 4), **currency}


async def store_carts(session: WriteSession, customer_id: UUID, carts: list[Cart]) -> None:
    """The rows."""
    for cart in carts:
        at, sent, by = cart.changed
        changed = {"changed_at": at, "changed_sent": sent, "changed_by": by}
        told = {"cart_id": cart.cart_id, "state": cart.state, "lines": list(cart.lines)}
        await session.execute(insert(CartRow).values(customer_id=customer_id, **told, **changed))


def cart_leaves(
    figures: st.SearchStrategy[dict[str, Any]], periods: st.SearchStrategy[str]
) -> dict[str, st.SearchStrategy[dict[str, Any]]]:
    """Conditions on the open cart."""
    compared = figures.map(lambda written: {key: value for key, value in written.items() if key != "case"})
    some: list[dict[str, Any]] = [{"gte": 100}, {"lt": 300}, {"eq": 0}, {"between": [1, 3]}, {"ne": 100}, {"gt": 2}]
    near = st.sampled_from([*some, {"exists": False}])
    currencies: list[dict[str, Any]] = [{}, {"currency": "EUR"}, {"currency": "JPY"}]
    total = st.builds(
        lambda figure, currency: {"cart": "total", **currency, **figure},
        *(compared | near, st.sampled_from(currencies)),
    )
    items = (compared | near).map(lambda figure: {"cart": "items", **figure})
    one = st.builds(lambda name, length: {name: length}, st.sampled_from(["gt", "gte", "lt", "lte"]), periods)
    both = st.lists(periods, min_size=2, max_size=2).map(lambda lengths: {"between": lengths})
    age = (one | both | st.booleans().map(lambda there: {"exists": there})).map(lambda told: {"cart": "age", **told})
    return {"cart": total | items | age}
