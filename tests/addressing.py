"""A shop over HTTP with its router and its sending at hand: events go in by a key, mail comes out at a provider."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import select

from database.customers import Identity
from database.messages import Message
from database.runs import Run
from domain.emails import OutgoingEmail
from tests.api.conftest import ApiServer
from tests.sending import PUBLIC_URL, Shop, hello_template, publish, welcome_journey
from triggers.live import LiveCache
from triggers.routing import Routing

PERSON = {"User-Agent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Safari/605.1.15"}


@dataclass
class Clock:
    """Business time, which a test moves on."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now

    def tick(self, seconds: float = 60) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Town:
    """The shop, seen from outside. What is said is routed at once, and each call is a minute after the one before."""

    server: ApiServer
    sending: Shop
    clock: Clock
    http: httpx.AsyncClient
    routing: Routing = field(default_factory=lambda: Routing(LiveCache()))
    _numbers: Any = field(default_factory=lambda: count(1))

    async def route(self) -> None:
        """Route all that waits."""
        while True:
            async with self.sending.database.transaction() as session:
                if not (await self.routing.route(session, self.clock.now, 500)).routed:
                    return

    async def post(self, call: str, body: dict[str, Any], *, browser: bool = False, routed: bool = True) -> None:
        """One call of the tracking API, by the server's key or the page's."""
        self.clock.tick()
        key = self.server.browser_key if browser else self.server.write_key
        sent = {"messageId": f"m-{next(self._numbers)}", "timestamp": self.clock.now.isoformat(), **body}
        answer = await self.http.post(f"/v1/{call}", json=sent, auth=(key, ""))
        assert answer.status_code == 200, answer.text
        if routed:
            await self.route()

    async def identify(self, user: str, *, browser: bool = False, **traits: Any) -> None:
        await self.post("identify", {"userId": user, "traits": traits}, browser=browser)

    async def track(self, user: str, event: str, *, browser: bool = False, **properties: Any) -> None:
        await self.post("track", {"userId": user, "event": event, "properties": properties}, browser=browser)

    async def consent(self, user: str, state: str = "subscribed", **more: Any) -> None:
        """Record consent by the API, and route what it tells of itself."""
        self.clock.tick()
        answer = await self.admin("PUT", f"/v1/customers/{user}/consent", json={"state": state, **more})
        assert answer.status_code in (200, 202), answer.text
        await self.route()

    async def admin(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.server.admin_key}", **more.pop("headers", {})}
        return await self.http.request(method, path, headers=headers, **more)

    async def consents(self, user: str) -> list[tuple[str, str]]:
        """State and source of what counts for the present address."""
        rows = (await self.admin("GET", f"/v1/customers/{user}/consent")).json()["data"]
        return [(row["state"], row["source"]) for row in rows]

    async def write_to(
        self, user: str, journey: str = "welcome", *, browser: bool = False
    ) -> tuple[str | None, str | None]:
        """Let a run of the journey send its message: where it went, or why it did not."""
        self.clock.tick()
        await self.track(user, f"Start {journey}", browser=browser)
        return await self.send_of(await self.latest_run(user, journey))

    async def latest_run(self, user: str, journey: str) -> UUID:
        """The run of the journey that the customer entered last."""
        async with self.sending.database.read() as session:
            return (
                await session.scalars(
                    select(Run.id)
                    .join(Identity, Identity.customer_id == Run.customer_id)
                    .where(Run.journey == journey, Identity.value == user)
                    .order_by(Run.entered_at.desc(), Run.id.desc())
                    .limit(1)
                )
            ).one()

    async def send_of(self, run: UUID, step: str = "reminder") -> tuple[str | None, str | None]:
        """Let a run send the message of a step: where it went, or why it did not."""
        self.clock.tick()
        await self.sending.send(run, step=step, as_of=self.clock.now)
        async with self.sending.database.read() as session:
            message = (await session.scalars(select(Message).where(Message.run_id == run, Message.step == step))).one()
        return (message.to, None) if message.state == "accepted" else (None, message.reason)

    async def ignored(self, user: str) -> list[list[str]]:
        """What was not taken of the customer's events, the latest first, as the timeline shows it."""
        shown = (await self.admin("GET", f"/v1/customers/{user}/timeline?limit=100")).json()["data"]
        return [each["detail"]["ignored_untrusted"] for each in shown if "ignored_untrusted" in each["detail"]]

    def mails_to(self, address: str) -> list[OutgoingEmail]:
        return [mail for mail in self.sending.provider.taken if mail.to == address]

    async def open(self, mail: OutgoingEmail, kind: str, **form: str) -> httpx.Response:
        """A person follows a link of the mail an hour later: `c` a click, `u` the preferences, by POST with a form."""
        self.clock.tick(3600)
        found = re.search(rf"{PUBLIC_URL}(/{kind}/[\w-]+)", mail.html + mail.text)
        assert found is not None
        if form:
            answer = await self.http.post(found.group(1), data=form, headers=PERSON)
        else:
            answer = await self.http.get(found.group(1), headers=PERSON)
        await self.route()
        return answer


async def publish_journeys(shop: Shop) -> None:
    """Journeys that send one mail each: of marketing, owed to the customer, and with a step of value."""
    owed = {"purpose": "transactional"}
    letters: dict[str, dict[str, Any]] = {
        "welcome": {},
        "newsletter": {"purpose": "news"},
        "receipts": owed,
        "gifts": owed,
        "codes": owed,
    }
    async with shop.database.transaction() as session:
        for key, more in letters.items():
            journey = welcome_journey(journey=key, **more)
            journey["enter"] = {"on": {"event": f"Start {key}"}, "again": {"while_active": True}}
            journey["exit"] = []
            await publish(session, "journey", key, journey)
        gifts = welcome_journey(journey="gifts", **owed)
        gifts["enter"] = {"on": {"event": "Start gifts"}, "again": {"while_active": True}}
        gifts["steps"].append({"id": "points", "points": {"award": 10}})
        await publish(session, "journey", "gifts", gifts)
        codes = welcome_journey(journey="codes", **owed)
        codes["enter"] = {"again": {"while_active": True}}
        codes["enter"] |= {"on": {"any": [{"event": "Start codes"}, {"event": "Reward Issued"}]}}
        await publish(session, "journey", "codes", codes)
        confirm = welcome_journey(journey="confirm", **owed)
        confirm["enter"] = {"on": {"event": "Consent Requested"}, "again": {"while_active": True}}
        confirm["exit"] = []
        confirm["steps"].append({"id": "thanks", "send": {"template": "hello"}})
        await publish(session, "journey", "confirm", confirm)
        html = '<p><a href="https://shop.example">Shop</a> <a href="{{ links.preferences }}">Yes, or no</a></p>'
        await publish(session, "template", "hello", hello_template(html=html))
