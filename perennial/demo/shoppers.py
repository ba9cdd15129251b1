"""People who shop while you watch: browsers' and the backend's events, sent with Segment's own client."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import Enum
from random import Random
from typing import Any  # event properties are any JSON

from segment.analytics.client import Client as Segment

from perennial.demo.catalogue import CATALOGUE, Product
from perennial.demo.history import order
from perennial.demo.people import Person

VISIT_EVERY_SECONDS = 2.5
_REMINDED_AFTER_SECONDS = 20.0  # the hasty abandoned-cart journey has reminded by then
_REVIEWED, _RETURNED, _RETURNED_AFTER_SECONDS = 0.35, 0.12, 8.0


class Ending(Enum):
    """What becomes of a visit, with how often (of 100)."""

    ONLY_LOOKS = 30
    LEAVES_THE_CART = 35
    BUYS_AT_ONCE = 20
    BUYS_WHEN_REMINDED = 15


class Visits:
    """Sends one visit after the other, overlapping as visits do, until cancelled."""

    def __init__(
        self, segment: Segment, persons: Sequence[Person], random: Random, tell: Callable[[str], None]
    ) -> None:
        self._segment = segment
        self._persons = persons
        self._random = random
        self._tell = tell

    async def run(self) -> None:
        """Never returns."""
        async with asyncio.TaskGroup() as visiting:
            while True:
                visiting.create_task(self._visit(self._random.choice(self._persons)))
                await asyncio.sleep(self._random.expovariate(1 / VISIT_EVERY_SECONDS))

    async def _visit(self, person: Person) -> None:
        """Anonymous until the cart, as on a real site, then signed in."""
        browser = str(uuid.uuid4())
        ending = self._ending()
        looked_at = self._random.sample(CATALOGUE, k=self._random.randint(1, 4))
        for product in looked_at:
            self._segment.track(None, "Product Viewed", product.properties(), anonymous_id=browser)
            await self._pause()
        if ending is Ending.ONLY_LOOKS:
            return
        self._segment.identify(person.id, person.traits, anonymous_id=browser)
        cart_id = f"cart-{uuid.uuid4().hex[:10]}"
        lines = await self._fill_cart(person, cart_id, looked_at)
        if ending is Ending.LEAVES_THE_CART:
            self._tell(f"{person.first_name} left a cart behind: {lines[0][0].name}")
            return
        await asyncio.sleep(_REMINDED_AFTER_SECONDS if ending is Ending.BUYS_WHEN_REMINDED else 3)
        await self._buy(person, cart_id, lines)

    async def _fill_cart(self, person: Person, cart_id: str, looked_at: Sequence[Product]) -> list[tuple[Product, int]]:
        lines = [(product, self._random.choice((1, 1, 2))) for product in looked_at[: self._random.randint(1, 3)]]
        for product, quantity in lines:
            properties = {"cart_id": cart_id, **product.properties(quantity)}
            self._segment.track(person.id, "Product Added", properties)
            await self._pause()
        return lines

    async def _buy(self, person: Person, cart_id: str, lines: Sequence[tuple[Product, int]]) -> None:
        placed = order(f"O-{datetime.now(UTC):%Y%m%d}-{uuid.uuid4().hex[:6]}", lines)
        self._track(person, "Checkout Started", placed | {"cart_id": cart_id})
        await self._pause()
        self._track(person, "Order Completed", placed | {"cart_id": cart_id})
        self._tell(f"{person.first_name} bought for € {placed['total']:.2f}")
        await self._pause()
        if self._random.random() < _REVIEWED:
            self._track(person, "Product Reviewed", lines[0][0].properties() | {"rating": self._random.randint(1, 5)})
        if self._random.random() < _RETURNED:
            await asyncio.sleep(_RETURNED_AFTER_SECONDS)
            returned = lines[0][0].properties(1)
            sums = {"total": returned["price"], "currency": returned["currency"]}
            self._track(person, "Order Refunded", {"order_id": placed["order_id"], **sums, "products": [returned]})
            self._tell(f"{person.first_name} sent something back: {lines[0][0].name}")

    def _track(self, person: Person, event: str, properties: dict[str, Any]) -> None:
        self._segment.track(person.id, event, properties)

    def _ending(self) -> Ending:
        return self._random.choices(list(Ending), weights=[ending.value for ending in Ending])[0]

    async def _pause(self) -> None:
        await asyncio.sleep(self._random.uniform(0.3, 1.5))
