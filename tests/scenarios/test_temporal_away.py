"""No lost entry while Temporal is away (G7): its server is stopped, continued and killed while a shop posts events.

`PERENNIAL_TEST_OUTAGE_SECONDS` lengthens the outage, to minutes if there is time for it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field

import httpx
import pytest
from temporalio.client import Client as Temporal

from tests.scenarios.conftest import Stack, eventually
from tests.scenarios.shoppers import Json, is_over, published, started
from tests.task_queue import crowding

OUTAGE_SECONDS = float(os.environ.get("PERENNIAL_TEST_OUTAGE_SECONDS", "15"))
SHOPS = 2
"""Clients that post at once."""
PACE_SECONDS = 0.3
"""What each of them rests between two calls, so that few machines need minutes to start the runs afterwards."""
VIEWS = 18
"""Events of each call that enter nobody."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600 + 5 * OUTAGE_SECONDS)]


@dataclass
class Load:
    """What the shop posts until told to stop: views, and every entry twice, as two events of one occasion."""

    stack: Stack
    journey: str
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    entered: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _clients: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Load:
        self._clients = [threading.Thread(target=self._post) for _ in range(SHOPS)]
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for client in self._clients:
            client.join()

    def _post(self) -> None:
        auth = (self.stack.addresses["write_key"], "")
        with httpx.Client(base_url=self.stack.addresses["api"], auth=auth, timeout=30) as client:
            while not self._over.wait(PACE_SECONDS):
                self._enter(client)

    def _enter(self, client: httpx.Client) -> None:
        user = f"user-{uuid.uuid4().hex}"
        names = ["Product Viewed"] * VIEWS + [started(self.journey)] * 2
        events = [
            {"type": "track", "userId": user, "event": name, "properties": {"cart": "c"}, "messageId": uuid.uuid4().hex}
            for name in names
        ]
        begun = time.monotonic()
        answer = client.post("/v1/batch", json={"batch": events})
        self.seconds.append(time.monotonic() - begun)
        self.statuses[answer.status_code] += 1
        if answer.status_code == 200:
            self.entered.append(user)

    def wait_for(self, entries: int) -> None:
        """Until so many more have been posted."""
        wanted = len(self.entered) + entries
        eventually(lambda: len(self.entered), lambda posted: posted >= wanted)


def all_runs(stack: Stack, journey: str) -> list[Json]:
    """Every run of a journey, page by page."""
    runs: list[Json] = []
    page = stack.get(f"/v1/runs?journey={journey}&limit=200")
    while page["next_cursor"] is not None:
        runs += page["data"]
        page = stack.get(f"/v1/runs?journey={journey}&limit=200&cursor={page['next_cursor']}")
    return [*runs, *page["data"]]


def executions(stack: Stack, journey: str) -> Counter[str]:
    """How many executions each workflow of a journey has had, as Temporal lists them."""

    async def listed() -> Counter[str]:
        client = await Temporal.connect(stack.addresses["temporal_address"])
        return Counter([found.id async for found in client.list_workflows(f"Journey = '{journey}'")])

    return asyncio.run(listed())


def test_while_temporal_is_away_events_are_taken_and_every_entry_has_its_one_run_afterwards(stack: Stack) -> None:
    steps: list[Json] = [{"wait": {"id": "pause", "for": "2s"}}, {"update": {"id": "mark", "traits": {"seen": True}}}]
    enter = {"on": {"event": "Started"}, "occasion": "properties.cart"}
    journey = published(stack, steps, enter=enter)

    with Load(stack, journey) as load:
        load.wait_for(10)
        stack.signal("temporal", signal.SIGSTOP)
        before = len(load.entered)
        time.sleep(OUTAGE_SECONDS)
        in_the_dark = load.entered[before:]
        latest = stack.get(f"/v1/runs?customer_id={in_the_dark[0]}")["data"]
        stack.signal("temporal", signal.SIGCONT)
        load.wait_for(10)
        stack.signal("temporal", signal.SIGKILL)  # and as it works off what waited, it dies
        load.wait_for(10)

    assert set(load.statuses) == {200}
    assert len(in_the_dark) > OUTAGE_SECONDS  # it never ceased to answer
    assert sorted(load.seconds)[int(len(load.seconds) * 0.95)] < 2 * crowding()
    assert [(run["state"], run["temporal"]["run_id"]) for run in latest] == [("active", None)]  # it was truly away
    runs = eventually(
        lambda: all_runs(stack, journey),
        lambda runs: len(runs) >= len(load.entered) and all(map(is_over, runs)),
        within=240 + 2 * OUTAGE_SECONDS,
    )
    assert sorted(run["customer_id"] for run in runs) == sorted(load.entered)
    assert {run["state"] for run in runs} == {"completed"}
    once_each = dict.fromkeys((run["temporal"]["workflow_id"] for run in runs), 1)
    eventually(lambda: executions(stack, journey), lambda found: found == once_each)
