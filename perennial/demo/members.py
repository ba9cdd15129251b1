"""Members of the club: they bring friends by their personal links, and spend their petals."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from random import Random

import httpx
from segment.analytics.client import Client as Segment

from perennial.demo.catalogue import CATALOGUE
from perennial.demo.history import order
from perennial.demo.people import Person, newcomer
from perennial.demo.readers import BROWSER
from perennial.demo.shop import BackOffice

EVERY_SECONDS = 4.0
_BRINGS_A_FRIEND = 0.4
_TREASURES = [product for product in CATALOGUE if product.price > 3_900]
"""With one of them a first order is worth the 30 euros without tax that a referral asks for."""


class Members:
    """Something happens every few seconds until cancelled; what takes its time goes on beside it."""

    def __init__(
        self,
        office: BackOffice,
        segment: Segment,
        browser: httpx.AsyncClient,
        *,
        persons: Sequence[Person],
        random: Random,
        tell: Callable[[str], None],
    ) -> None:
        self._office = office
        self._segment = segment
        self._browser = browser
        self._persons = persons
        self._random = random
        self._tell = tell

    async def run(self) -> None:
        """Never returns."""
        async with asyncio.TaskGroup() as happening:
            while True:
                person = self._random.choice(self._persons)
                is_referral = self._random.random() < _BRINGS_A_FRIEND
                happening.create_task(self._bring_a_friend(person) if is_referral else self._redeem(person))
                await asyncio.sleep(self._random.expovariate(1 / EVERY_SECONDS))

    async def _bring_a_friend(self, person: Person) -> None:
        """The friend follows the link, signs up, and orders a little later."""
        link, code = await self._office.referral_link(person.id)
        await self._browser.get(link, headers={"User-Agent": BROWSER}, follow_redirects=False)
        friend = newcomer(self._random)
        self._segment.identify(friend.id, friend.traits)
        self._segment.track(friend.id, "Consent Granted", {"purpose": "marketing", "channel": "email"})
        self._segment.track(friend.id, "Signed Up", {"ref": code})
        await asyncio.sleep(2)
        # RFC 2544 keeps these networks for tests: far enough apart to look like different homes.
        if not await self._office.claim(code, friend.id, f"198.{self._random.choice((18, 19))}.{self._byte()}.7"):
            return
        self._tell(f"{person.first_name} brought a friend: {friend.first_name}")
        await asyncio.sleep(self._random.uniform(4, 8))
        lines = [(self._random.choice(_TREASURES), 1), (self._random.choice(CATALOGUE), 2)]
        placed = order(f"F-{datetime.now(UTC):%Y%m%d}-{uuid.uuid4().hex[:6]}", lines)
        self._segment.track(friend.id, "Order Completed", placed)
        self._tell(f"{friend.first_name} placed a first order, for € {placed['total']:.2f}")

    async def _redeem(self, person: Person) -> None:
        """Whatever they can afford."""
        offers = await self._office.rewards_for(person.id)
        if not offers:
            return
        offer = self._random.choice(offers)
        if await self._office.redeem(person.id, offer["reward"]):
            self._tell(f"{person.first_name} spent {offer['points']} petals: {offer['name']}")

    def _byte(self) -> int:
        return self._random.randrange(256)
