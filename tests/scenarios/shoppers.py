"""Customers of the shop in scenarios: what their events, profile, runs and messages look like from outside."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from tests.scenarios.conftest import Stack, eventually

Json = dict[str, Any]  # a document of the public contract


def new_key(prefix: str) -> str:
    """A key that no other test uses."""
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def archive_programmes(stack: Stack) -> None:
    """Make room for another programme: one is live at a time, and takes what runs of earlier scenarios still give."""
    for document in stack.get("/v1/programmes")["data"]:
        if document["state"] == "live":
            stack.client.post(f"/v1/programmes/{document['key']}/archive", json={}).raise_for_status()
    while runs := stack.get("/v1/runs?journey=tier-upgrade&state=active&limit=100")["data"]:
        for run in runs:
            stack.client.post(f"/v1/runs/{run['id']}/exit", json={})  # or it has ended meanwhile


def note(stack: Stack, **parts: Any) -> str:
    """The key of a published template of one line."""
    key = new_key("note")
    template = {"template": key, "channel": "email", "name": "Note", "subject": "A note", "html": "<p>A note</p>"}
    saved = stack.client.put(f"/v1/templates/{key}", json=template | parts)
    assert saved.status_code == 200, saved.text
    published = stack.client.post(f"/v1/templates/{key}/publish", json={})
    assert published.status_code == 200, published.text
    return key


def published(stack: Stack, steps: Sequence[Json], **parts: Any) -> str:
    """The key of a live journey, entered on `Started` unless said otherwise; that event is this journey's alone."""
    key = new_key("scenario")
    journey = {"journey": key, "purpose": "transactional", "enter": {"on": {"event": "Started"}}, "steps": list(steps)}
    own = json.loads(json.dumps(journey | parts).replace('"Started"', f'"{started(key)}"'))
    stack.publish(own)
    return key


def started(journey: str) -> str:
    """The name of the event that starts a journey."""
    return f"Started {journey}"


class Shopper:
    """One customer, reported over plain HTTP with the shop's secret write key."""

    def __init__(self, stack: Stack, user_id: str | None = None, **traits: Any) -> None:
        self.stack = stack
        self.id = user_id or f"shopper-{uuid.uuid4().hex[:10]}"
        self.email = f"{uuid.uuid4().hex[:12]}@example.com"
        self.post("identify", userId=self.id, traits={"email": self.email, **traits})

    def post(self, kind: str, **message: Any) -> Json:
        """Send one message of the tracking API."""
        auth = (self.stack.addresses["write_key"], "")
        message.setdefault("messageId", uuid.uuid4().hex)
        answer = self.stack.client.post(f"/v1/{kind}", json=message, auth=auth)
        assert answer.status_code == 200, answer.text
        result: Json = answer.json()
        return result

    def track(self, event: str, properties: Mapping[str, Any] | None = None, **message: Any) -> Json:
        """Report that the customer did something."""
        return self.post("track", userId=self.id, event=event, properties=dict(properties or {}), **message)

    def start(self, journey: str, properties: Mapping[str, Any] | None = None) -> None:
        """Do what enters a journey."""
        self.track(started(journey), properties)

    @property
    def path(self) -> str:
        """Where the customer stands in the API."""
        return f"/v1/customers/{quote(self.id, safe='')}"

    def profile(self) -> Json:
        """The customer's profile."""
        return self.stack.get(self.path)

    def runs(self, journey: str) -> list[Json]:
        """The customer's runs of a journey, the latest first; none while the customer is not known yet."""
        found: list[Json] = self.stack.get(f"/v1/runs?customer_id={quote(self.id, safe='')}&journey={journey}")["data"]
        return found

    def run(self, journey: str, until: Callable[[Json], bool] = lambda run: True, within: float = 120) -> Json:
        """The customer's only run with its log, once it is as wanted."""
        (run,) = eventually(lambda: self.runs(journey), lambda runs: len(runs) == 1, within)
        return eventually(lambda: self.stack.get(f"/v1/runs/{run['id']}"), until, within)

    def messages(self) -> list[Json]:
        """The messages to the customer, the latest first."""
        found: list[Json] = self.stack.get(f"{self.path}/messages")["data"]
        return found

    def explained(self, journey: str, considered: int = 1) -> Json:
        """Why the customer is in a journey or is not, once that many events were considered."""
        path = f"/v1/journeys/{journey}/explain?customer_id={quote(self.id, safe='')}"
        answer = eventually(
            lambda: self.stack.client.get(path),
            lambda answer: answer.status_code == 200 and len(answer.json()["considered"]) >= considered,
        )
        explained: Json = answer.json()
        return explained


def is_over(run: Json) -> bool:
    """Whether a run has ended."""
    return bool(run["state"] != "active")


def stands_at(step: str) -> Callable[[Json], bool]:
    """Whether a run waits at a step."""
    return lambda run: run["step"] == step and run["waiting_for"] is not None


def outcomes(run: Json) -> list[tuple[str, str]]:
    """The steps of a run's log with their outcomes."""
    return [(step["step"], step["outcome"]) for step in run["steps"]]


def reason_of(run: Json, step: str) -> str | None:
    """Why a step of a run went as it did."""
    reasons: list[str | None] = [entry["reason"] for entry in run["steps"] if entry["step"] == step]
    return reasons[-1]
