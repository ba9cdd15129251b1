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
from perennial.demo.haste import SUFFIX, hasty
from perennial.demo.history import history
from perennial.demo.people import Person
from perennial.settings import PROJECT

T = TypeVar("T")
BATCH = 100
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
        """Settings, history and hasty journeys; False when an earlier start has done it all."""
        built_in = [key for key in await self._journeys() if not key.endswith(SUFFIX)]
        if built_in and all([await self._exists(key + SUFFIX) for key in built_in]):
            return False
        await self._call("PUT", "/v1/settings", SETTINGS)
        await self._post_history(persons)
        await self._drained(persons[-1])
        await self._publish_programme()
        for key in built_in:
            await self._publish_hasty(key)
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

    async def _journeys(self) -> list[str]:
        answer = await self._call("GET", "/v1/journeys?limit=100")
        return [document["key"] for document in answer["data"]]

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

    async def _publish_programme(self) -> None:
        """After the past, which earns nothing."""
        document = read_yaml(PROGRAMME.read_bytes())
        await self._call("PUT", f"/v1/programmes/{PROGRAMME.stem}", document)
        await self._call("POST", f"/v1/programmes/{PROGRAMME.stem}/publish", {})

    async def _publish_hasty(self, key: str) -> None:
        definition = (await self._call("GET", f"/v1/journeys/{key}"))["draft"]
        copy = hasty(definition)
        await self._call("PUT", f"/v1/journeys/{copy['journey']}", copy)
        await self._call("POST", f"/v1/journeys/{copy['journey']}/publish", {})

    async def _call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        answer = await self._client.request(method, path, json=body)
        answer.raise_for_status()
        result: dict[str, Any] = answer.json()
        return result


def _batches(items: Iterator[T], size: int) -> Iterator[list[T]]:
    while batch := list(islice(items, size)):
        yield batch
