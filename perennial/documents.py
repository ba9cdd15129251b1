"""Documents of marketers through the HTTP API, as a program outside would save and publish them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from domain.errors import NotFound, PerennialError, Unavailable
from perennial.embedded.announcement import announcement
from perennial.settings import Settings

Document = Mapping[str, Any]  # any JSON object

_PATIENCE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Saved:
    """A saved draft and what its checks found: `{"code", "severity", "step", "pointer", "message"}` each."""

    findings: Sequence[Mapping[str, Any]]

    @property
    def is_publishable(self) -> bool:
        """Whether no finding is an error."""
        return all(finding["severity"] != "error" for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a publication would do to the runs in flight; it is confirmed by its digest."""

    digest: str
    changes: Sequence[Any]
    in_flight: Sequence[Mapping[str, Any]]  # {"step", "runs", "policy"}


class RefusedError(PerennialError):
    """The API refused; the detail is its own."""

    code = "refused"


class DocumentsApi:
    """One kind of document, such as `journeys`. Every call raises RefusedError with the API's own words."""

    def __init__(self, client: httpx.AsyncClient, kind: str) -> None:
        self._client = client
        self._path = f"/v1/{kind}"

    async def drafts(self) -> dict[str, Document]:
        """All drafts that are not archived, by key."""
        keys: list[str] = []
        cursor: str | None = None
        while True:
            page = await self._call("GET", self._path, params={"limit": "100"} | ({"cursor": cursor} if cursor else {}))
            keys += [row["key"] for row in page["data"] if row["state"] != "archived"]
            cursor = page["next_cursor"]
            if cursor is None:
                return {key: (await self.load(key))["draft"] for key in keys}

    async def load(self, key: str) -> Document:
        """The document with its draft, state and live version; raises NotFound."""
        return await self._call("GET", self._of(key))

    async def save(self, key: str, document: Document) -> Saved:
        """Save the draft."""
        answer = await self._call("PUT", self._of(key), json=document)
        return Saved(answer["findings"])

    async def check(self, key: str) -> Saved:
        """What is wrong with the saved draft now."""
        answer = await self._call("POST", f"{self._of(key)}/check")
        return Saved(answer["findings"])

    async def is_published(self, key: str) -> bool:
        """Whether the live version is the saved draft, of kinds whose versions are their drafts: all but journeys."""
        row = await self.load(key)
        if row["state"] in ("draft", "archived"):
            return False
        live = await self._call("GET", f"{self._of(key)}/versions/{row['version']}")
        return bool(live["document"] == row["draft"])

    async def plan(self, key: str) -> Plan:
        """What publishing the saved draft would do."""
        answer = await self._call("POST", f"{self._of(key)}/publish", json={"dry_run": True})
        return Plan(answer["plan"], answer["changes"], answer["in_flight"])

    async def publish(self, key: str, *, plan: str | None = None) -> int:
        """Publish the saved draft, confirming the plan of that digest if there is one; the version made."""
        answer = await self._call("POST", f"{self._of(key)}/publish", json={"plan": plan} if plan else {})
        version: int = answer["version"]
        return version

    def _of(self, key: str) -> str:
        return f"{self._path}/{quote(key, safe='')}"

    async def _call(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        try:
            answer = await self._client.request(method, path, **request)
        except httpx.TransportError as error:
            raise Unavailable(f"{self._client.base_url} does not answer: {error}") from None
        if answer.is_success:
            return _object(answer)
        detail = _detail(answer)
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise NotFound(detail)
        raise RefusedError(f"{method} {path}: {detail}")


ApiOf = Callable[[str], DocumentsApi]
"""The API of a kind of documents."""


@asynccontextmanager
async def open_client(url: str, key: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API with that key."""
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=_PATIENCE_SECONDS) as client:
        yield client


def find_api(settings: Settings) -> tuple[str, str]:
    """Address and key of the API to speak with: of the settings, else of the `perennial up` that runs here."""
    if settings.api_url is not None and settings.api_key is not None:
        return settings.api_url, settings.api_key.get_secret_value()
    if settings.api_url is not None or settings.api_key is not None:
        told, missing = ("PERENNIAL_API_URL", "PERENNIAL_API_KEY")[:: 1 if settings.api_key is None else -1]
        raise Unavailable(f"{told} is set without {missing}: set both to speak with that API, or neither.")
    running = announcement(settings.data_dir)
    if not running:
        raise Unavailable(
            "No API to speak with: set PERENNIAL_API_URL and PERENNIAL_API_KEY, or start one here with `perennial up`."
        )
    return running["api"], running["admin_key"]


def _object(answer: httpx.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Unavailable(f"{answer.url} does not answer as Perennial's API: a proxy or portal may stand before it.")
    return body


def _detail(answer: httpx.Response) -> str:
    """The problem document's own words, with the place of each fault."""
    try:
        problem = answer.json()
        faults = [f"{fault.get('pointer', '')}: {fault.get('detail', '')}" for fault in problem.get("errors", [])]
        return "\n  ".join([problem["detail"], *faults])
    except (ValueError, KeyError, AttributeError):
        return f"{answer.status_code} {answer.reason_phrase}"
