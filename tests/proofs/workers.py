"""Two worker processes, played by two sets of activities with connections, lines and places of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from time import time
from uuid import UUID

from activities.messages import MessageActivities
from activities.pacing import Pacer
from activities.providers import EmailProvider, Providers
from connectors.rendering import Renderer
from database.session import Database
from domain.journeys.library import DefinitionLibrary
from tests.sending import PUBLIC_URL, Shop, add_customer, add_run, open_shop
from tests.task_queue import TaskQueue


@dataclass
class Workers:
    """What they work off."""

    shop: Shop
    workers: Sequence[MessageActivities]
    queue: TaskQueue

    async def reach(self, count: int, *, receipts: bool = False) -> list[UUID]:
        """So many runs come to their message now."""
        async with self.shop.database.transaction() as session:
            name = "receipt" if receipts else "news"
            customers = [await add_customer(session, f"{name}-{n}-{time()}") for n in range(count)]
            journey = "receipts" if receipts else "welcome"
            runs = [await add_run(session, each, journey=journey, entered_at=datetime.now(UTC)) for each in customers]
        for run_id in runs:
            self.queue.add(run_id, is_receipt=receipts)
        return runs

    async def over(self, count: int, *, within: float) -> None:
        """Wait until so many messages have left, or perhaps left."""
        async with asyncio.timeout(within):
            while sum(each.state in ("accepted", "unknown") for each in await self.shop.messages()) < count:
                await asyncio.sleep(0.2)


@asynccontextmanager
async def two_workers(
    database: Database, providers: Sequence[EmailProvider], rate: float
) -> AsyncIterator[tuple[Shop, Sequence[MessageActivities]]]:
    """One for each provider, which are two ways to the same one; `rate` is what both may call it a second."""
    renderer = Renderer(processes=2)
    databases = [Database(database.url) for _ in providers]
    async with open_shop(database, renderer) as shop:
        yield (
            shop,
            [
                MessageActivities(
                    each,
                    DefinitionLibrary(lambda _journey, _version: None),
                    renderer,
                    Providers(provider, shop.webhooks),
                    Pacer(each, {provider.name: rate}),
                    public_url=PUBLIC_URL,
                )
                for each, provider in zip(databases, providers, strict=True)
            ],
        )
    await renderer.close()
    for each in databases:
        await each.close()
