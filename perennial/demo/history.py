"""Nine months of the nursery's past, as the events its backend would have sent: sign-ups, visits, orders, refunds.

Message ids follow from the person and the position, so a start that was cut short and begins again doubles nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any  # events are any JSON

from perennial.demo.catalogue import CATALOGUE, CURRENCY, Product
from perennial.demo.people import Person

MONTHS = 9
_SPAN = timedelta(days=MONTHS * 30)
_SHIPPING = 495  # cents
_FREE_SHIPPING_FROM = 7_500

Message = dict[str, Any]


def history(persons: Sequence[Person], now: datetime) -> Iterator[Message]:
    """All messages, person by person, each person's in order of time; `now` is aware and ends the history."""
    for person in persons:
        random = Random(person.id)  # noqa: S311  made-up purchases, no secrets
        for position, message in enumerate(_life(person, random, now)):
            yield {"messageId": f"history-{person.id}-{position}", "userId": person.id, **message}


def order(order_id: str, lines: Sequence[tuple[Product, int]]) -> dict[str, Any]:
    """The properties of an `Order Completed`; sums in cents until the last moment, then euros as shops send them."""
    subtotal = sum(product.price * quantity for product, quantity in lines)
    shipping = 0 if subtotal >= _FREE_SHIPPING_FROM else _SHIPPING
    tax = round((subtotal + shipping) * 19 / 119)
    return {
        "order_id": order_id,
        "subtotal": (subtotal - tax) / 100,
        "revenue": subtotal / 100,
        "shipping": shipping / 100,
        "tax": tax / 100,
        "total": (subtotal + shipping) / 100,
        "currency": CURRENCY,
        "products": [product.properties(quantity) for product, quantity in lines],
    }


def _life(person: Person, random: Random, now: datetime) -> Iterator[Message]:
    joined = now - _SPAN * random.uniform(0.15, 1)
    yield _at(joined, {"type": "identify", "traits": person.traits | {"createdAt": joined.isoformat()}})
    if person.wants_mail:
        yield _track(
            joined, "Consent Granted", {"purpose": "marketing", "channel": "email", "text": "newsletter-2026-01"}
        )
    until_recently = now - joined - timedelta(hours=1)  # the last visit has ended
    visits = sorted(joined + until_recently * random.random() for _ in range(round(2 + person.eagerness * 16)))
    for number, visit in enumerate(visits):
        yield from _visit(person, random, visit, f"H-{person.id.removeprefix('G-')}-{number + 1}", now)


def _visit(person: Person, random: Random, start: datetime, order_id: str, now: datetime) -> Iterator[Message]:
    """Some products looked at; more often than not nothing is bought."""
    looked_at = random.sample(CATALOGUE, k=random.randint(1, 4))
    for number, product in enumerate(looked_at):
        yield _track(start + timedelta(minutes=2 * number), "Product Viewed", product.properties())
    if random.random() > 0.15 + 0.35 * person.eagerness:
        return
    bought = [(product, random.choice((1, 1, 1, 2, 3))) for product in looked_at[: random.randint(1, 3)]]
    ordered_at = start + timedelta(minutes=12)
    yield _track(ordered_at, "Order Completed", order(order_id, bought))
    refunded_at = ordered_at + timedelta(days=random.randint(3, 10))
    if random.random() < 0.05 and refunded_at < now:
        product, _ = bought[0]
        yield _track(
            refunded_at,
            "Order Refunded",
            {
                "order_id": order_id,
                "total": product.price / 100,
                "currency": CURRENCY,
                "products": [product.properties(1)],
            },
        )


def _track(at: datetime, event: str, properties: dict[str, Any]) -> Message:
    return _at(at, {"type": "track", "event": event, "properties": properties})


def _at(at: datetime, message: Message) -> Message:
    return {"timestamp": at.isoformat(), **message}
