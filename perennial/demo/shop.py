"""The nursery's own back office: it opens the shop once, through the HTTP API."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TypeVar  # documents and events are any JSON

import httpx

from domain.yaml import read_yaml
from perennial.demo.club import club
from perennial.demo.haste import SUFFIX, hasty, hasty_programme
from perennial.demo.history import history
from perennial.demo.people import Person
from perennial.settings import PROJECT

T = TypeVar("T")
BATCH = 100
JOURNEYS = PROJECT / "templates" / "journeys"
PROGRAMME = PROJECT / "templates" / "programmes" / "petals.yaml"
SETTINGS = {
    "name": "Hollyhock & Rye",
    "zone": "Europe/Berlin",
    "currency": "EUR",
    "website": "https://shop.example",
    "sender": {"name": "Hollyhock & Rye", "email": "garden@shop.example"},
    "postal_address": "Hollyhock & Rye Nursery, Gärtnerweg 4, 20095 Hamburg",
}


@dataclass(frozen=True, slots=True)
class ShownMessage:
    """A message as its reader sees it in the inbox."""

    id: str
    to: str
    subject: str


class BackOffice:
    """What the shop's people do with an admin key."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def open(self, persons: Sequence[Person]) -> bool:
        """Settings, club, history and hasty journeys; False when an earlier start has done it all."""
        built_in = sorted(path.stem for path in JOURNEYS.glob("*.yaml"))
        if all([await self._exists(key + SUFFIX) for key in built_in]):
            return False
        await self._call("PUT", "/v1/settings", SETTINGS)
        for key in built_in:
            await self._pause(key)
        await self._publish("programmes", hasty_programme(read_yaml(PROGRAMME.read_bytes())))
        for kind, documents in club(datetime.now(UTC)).items():
            for document in documents:
                await self._publish(kind, document)
        await self._post_history(persons)
        await self._drained(persons[-1])
        for key in built_in:
            await self._publish("journeys", hasty((await self._call("GET", f"/v1/journeys/{key}"))["draft"]))
        return True

    async def delivered(self) -> list[ShownMessage]:
        """The newest messages that a provider took, whoever they are for."""
        answer = await self._call("GET", "/v1/messages?state=accepted&limit=50")
        return [ShownMessage(row["id"], row["to"], row["subject"]) for row in answer["data"]]

    async def html_of(self, message_id: str) -> str:
        """What the customer sees of it."""
        return str((await self._call("GET", f"/v1/messages/{message_id}"))["html"] or "")

    async def unsubscribe_link(self, message_id: str) -> str | None:
        """Where its List-Unsubscribe header points."""
        headers = (await self._call("GET", f"/v1/messages/{message_id}"))["headers"]
        found = re.search(r"<(https?://[^>]+)>", headers.get("List-Unsubscribe", ""))
        return found.group(1) if found else None

    async def referral_link(self, customer_id: str) -> tuple[str, str]:
        """A customer's personal link, and the code in it."""
        answer = await self._call("GET", f"/v1/customers/{customer_id}/referral")
        return answer["link"], answer["code"]

    async def claim(self, code: str, customer_id: str, ip: str) -> bool:
        """Report that somebody signed up by a code; False when they cannot be brought."""
        wish = {"code": code, "referee": customer_id, "signals": {"ip": ip}}
        return (await self._client.post("/v1/referrals/claim", json=wish)).is_success

    async def rewards_for(self, customer_id: str) -> list[dict[str, Any]]:
        """What a customer can have now, as the catalogue shows it; nothing to whom it does not know."""
        answer = await self._client.get(f"/v1/customers/{customer_id}/rewards?available=true")
        return [entry for entry in answer.json()["data"] if entry["available"]] if answer.is_success else []

    async def redeem(self, customer_id: str, reward: str) -> bool:
        """Have a reward for points; False when somebody was faster or the points are gone."""
        path = f"/v1/customers/{customer_id}/rewards/{reward}/redeem"
        return (await self._client.post(path, json={})).is_success

    async def _exists(self, journey: str) -> bool:
        return (await self._client.get(f"/v1/journeys/{journey}")).status_code == httpx.codes.OK

    async def _post_history(self, persons: Sequence[Person]) -> None:
        for batch in _batches(history(persons, datetime.now(UTC)), BATCH):
            await self._call("POST", "/v1/import", {"batch": batch})

    async def _drained(self, last: Person) -> None:
        """Wait until the router has taken in the past, so that none of it enters the journeys published next."""
        async with asyncio.timeout(300):
            while True:
                answer = await self._client.get(f"/v1/customers/{last.id}")
                if answer.status_code == httpx.codes.OK and answer.json()["traits"]:
                    return
                await asyncio.sleep(0.5)

    async def _pause(self, key: str) -> None:
        """The past enters no journey, and who enters the hasty copy is not told everything twice."""
        if (await self._call("GET", f"/v1/journeys/{key}"))["state"] == "live":
            await self._call("POST", f"/v1/journeys/{key}/pause", {})

    async def _publish(self, kind: str, document: dict[str, Any]) -> None:
        """`document` names its key under the singular of its kind. Runs in flight stay on their version."""
        path = f"/v1/{kind}/{document[kind.removesuffix('s')]}"
        await self._call("PUT", path, document)
        plan = await self._call("POST", f"{path}/publish", {"dry_run": True})
        await self._call("POST", f"{path}/publish", {"plan": plan["plan"]})

    async def _call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        answer = await self._client.request(method, path, json=body)
        answer.raise_for_status()
        result: dict[str, Any] = answer.json()
        return result


def _batches(items: Iterator[T], size: int) -> Iterator[list[T]]:
    while batch := list(islice(items, size)):
        yield batch
