"""The demo shop: it opens over HTTP, people shop, earn and spend within a minute or so, and it opens only once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from perennial.demo import run_demo
from perennial.demo.haste import SUFFIX
from tests.scenarios.conftest import Stack
from tests.scenarios.shoppers import archive_programmes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def shop(stack: Stack) -> Iterator[Stack]:
    """The stack, left to the other scenarios as it was."""
    archive_programmes(stack)
    yield stack
    archive_programmes(stack)
    for journey in stack.get("/v1/journeys?limit=100")["data"]:
        if journey["key"].endswith(SUFFIX):
            stack.client.post(f"/v1/journeys/{journey['key']}/archive", json={}).raise_for_status()
        elif journey["state"] == "paused":
            stack.client.post(f"/v1/journeys/{journey['key']}/resume", json={}).raise_for_status()


async def test_the_demo_comes_to_life_and_a_second_start_doubles_nothing(shop: Stack) -> None:
    stack = shop
    async with Demo(stack) as first:
        await first.tells("taken in")
        past = figures(stack)
        await until(lambda: bool(accepted(stack)), within=150)
        await until(lambda: all(now > then for now, then in zip(figures(stack), past, strict=True)), within=150)
    assert past[0] > 0  # the months before have earned points
    orders = stack.get("/v1/customers/G-1001/orders")["data"]

    async with Demo(stack) as second:
        await second.tells("are there already")

    assert stack.get("/v1/customers/G-1001/orders")["data"] == orders
    assert stack.get("/v1/journeys/abandoned-cart-demo")["version"] == 1


class Demo:
    """The demo's process while the block runs, and what it tells."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._lines: list[str] = []

    async def __aenter__(self) -> Demo:
        addresses = self._stack.addresses
        self._running = asyncio.create_task(
            run_demo(addresses["api"], addresses["admin_key"], addresses["write_key"], tell=self._lines.append)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._running.cancel()
        await asyncio.wait([self._running])
        assert self._running.cancelled(), self._lines  # it never ends by itself

    async def tells(self, words: str) -> None:
        """Wait for a line with these words."""
        await until(lambda: any(words in line for line in self._lines) or self._running.done(), within=120)
        assert any(words in line for line in self._lines), self._lines


def figures(stack: Stack) -> tuple[int, int, int]:
    """Points issued and redeemed in the club, and friends who were brought."""
    told = stack.get("/v1/programmes/petals-demo/liability")
    return told["issued"], told["redeemed"], len(stack.get("/v1/referrals?limit=100")["data"])


def accepted(stack: Stack) -> list[dict[str, Any]]:
    """Reminders of the hasty journey that the mailbox took."""
    messages = stack.get("/v1/messages?state=accepted&limit=100")["data"]
    return [message for message in messages if message["journey"] == "abandoned-cart-demo"]


async def until(is_so: Any, within: float) -> None:  # a function without arguments
    """Ask again and again until it is so."""
    async with asyncio.timeout(within):
        while not is_so():
            await asyncio.sleep(0.5)
