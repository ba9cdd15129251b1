"""A shop with a loyalty club for the regression tests: its router, its API over HTTP and one clock for both."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx
from temporalio.testing import ActivityEnvironment

from activities.settling import Settled, SettlingActivities, SettlingStep
from domain.events import EventKind
from perennial.doctor import examine
from tests.triggers.shop import Shop

EUR = {"currency": "EUR"}
Job = Callable[[SettlingStep], Awaitable[Settled]]
_NAMES = count(1)


@dataclass
class Club:
    """What a shop can do with its loyalty programme, by events and over HTTP."""

    shop: Shop
    http: httpx.AsyncClient

    async def publish(self, kind: str, key: str, **document: Any) -> None:
        """A document's next version, through its checks."""
        saved = await self.http.put(f"/v1/{kind}/{key}", json=document)
        assert saved.status_code == 200, saved.text
        published = await self.http.post(f"/v1/{kind}/{key}/publish", json={})
        assert published.status_code == 200, published.text

    async def programme(self, *earn: Mapping[str, Any], **members: Any) -> None:
        """The programme's next version. A second passes, so that what follows is decided by it."""
        await self.publish("programmes", "main", **{"zone": "Europe/Berlin", "earn": list(earn), **members})
        self.shop.later(seconds=1)

    async def member(self, points: int = 0) -> str:
        """Somebody new, with points to spend."""
        name = f"member-{next(_NAMES)}"
        await self.shop.identify({"email": f"{name}@{name}.example"}, user_id=name)
        if points:
            await self.ask(f"customers/{name}/points/award", points=points)
        return name

    async def buy(self, member: str, subtotal: float, **properties: Any) -> str:
        """An order; answers its id."""
        order_id = f"order-{next(_NAMES)}"
        told = {"order_id": order_id, "subtotal": subtotal, "total": subtotal, **EUR, **properties}
        await self.shop.track("Order Completed", told, user_id=member)
        return order_id

    async def give_back(self, member: str, order_id: str, total: float | None = None, **properties: Any) -> None:
        """So much of an order comes back; all of it where nothing is said."""
        amount = {} if total is None else {"total": total, **EUR}
        await self.shop.track("Order Refunded", {"order_id": order_id, **amount, **properties}, user_id=member)

    async def become_one(self, loser: str, survivor: str) -> None:
        """Two customers turn out to be one person."""
        await self.shop.post(self.shop.event(kind=EventKind.ALIAS, previous_id=loser, user_id=survivor))
        await self.shop.route()

    async def post(self, path: str, **body: Any) -> httpx.Response:
        """A request, whatever its answer."""
        return await self.http.post(f"/v1/{path}", json=body)

    async def ask(self, path: str, **body: Any) -> dict[str, Any]:
        """A request that is granted."""
        answer = await self.post(path, **body)
        assert answer.status_code in (200, 201), answer.text
        return dict(answer.json())

    async def get(self, path: str) -> dict[str, Any]:
        """What the API shows."""
        answer = await self.http.get(f"/v1/{path}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def points(self, member: str) -> dict[str, Any]:
        """What a member has."""
        return await self.get(f"customers/{member}/points")

    async def available(self, member: str) -> int:
        """What a member can spend; below zero is owed."""
        return int((await self.points(member))["available"])

    async def settle(self) -> None:
        """What the job does for points that are due."""
        step = SettlingStep(since=self.shop.now, as_of=self.shop.now)
        await ActivityEnvironment().run(SettlingActivities(self.shop.database).settle_accounts, step)

    async def broken_promises(self) -> list[str]:
        """What the doctor finds once the jobs of the night have run."""
        settling = SettlingActivities(self.shop.database)
        step = SettlingStep(since=self.shop.now, as_of=self.shop.now)
        for job in _jobs(settling):
            await ActivityEnvironment().run(job, step)
        verdicts = await examine(self.shop.database, self.shop.now, email_per_second=2, provider="smtp")
        return [verdict.promise for verdict in verdicts if not verdict.is_kept]


def _jobs(settling: SettlingActivities) -> tuple[Job, ...]:
    return (
        *(settling.settle_accounts, settling.close_tier_periods),
        *(settling.end_referral_holds, settling.expire_redemptions),
    )


def codes(*answers: httpx.Response) -> list[str | int]:
    """Of each answer why it was refused, or 200."""
    return [answer.json().get("code", 200) if answer.status_code >= 400 else 200 for answer in answers]
