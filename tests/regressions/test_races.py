"""Two routers, the shop's requests and the jobs of the night at one customer at once; and the same without locks."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import Select
from structlog.testing import capture_logs

from database import accounts
from tests.regressions.club import Club
from triggers.live import LiveCache
from triggers.routing import Routing

PURCHASE = {"rule": "purchase", "on": {"event": "Order Completed"}, "amount": {"points": 10}}


@pytest.fixture(autouse=True, scope="module")
async def programme(club: Club) -> None:
    await club.programme(PURCHASE)


async def test_whoever_moves_the_points_of_one_customer_at_once_none_is_lost_or_spent_twice(club: Club) -> None:
    """60 points lapse at this instant, 60 are good, ten orders bring 100 more; twelve spend 20 each if they can."""
    ann = await customer_at_the_last_moment(club)

    outcomes = await race(club, ann)

    spent = 20 * outcomes["spent"]
    told = await club.points(ann)
    assert set(outcomes) <= {"spent", "insufficient_points", "held", "done"}
    assert outcomes["spent"] >= 3
    assert (told["earned"], told["issued"]) == (100, 220)
    assert (told["expired"], told["spent"], told["held"]) == (60, spent, 0)
    assert told["available"] == 160 - spent >= 0
    assert await club.broken_promises() == []


async def test_a_copy_of_the_code_without_its_locks_fails_at_the_requests_alone(
    club: Club, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then moves decide by what is no longer so, and only the keys of the entries keep them from being written."""
    ann = await customer_at_the_last_moment(club)
    monkeypatch.setattr(Select, "with_for_update", lambda self, **_: self)
    monkeypatch.setattr(accounts, "_LOCK", accounts._READ)

    with capture_logs():  # a traceback for each would take longer than the race
        ended = await asyncio.gather(*requests(club, ann), return_exceptions=True)

    assert "failed" in map(_name, ended)


async def customer_at_the_last_moment(club: Club) -> str:
    ann = await club.member(points=60)
    soon = club.shop.now + timedelta(minutes=1)
    await club.ask(f"customers/{ann}/points/award", points=60, expires_at=soon.isoformat())
    club.shop.now = soon
    about = [{"order_id": f"{ann}/{number}", "subtotal": 10, "currency": "EUR"} for number in range(10)]
    await club.shop.post(*(club.shop.event("Order Completed", user_id=ann, properties=each) for each in about))
    return ann


async def race(club: Club, member: str) -> Counter[str]:
    """Requests, routers and jobs at once, then what was left for later; how each ended."""
    workers = [*(_route(club) for _ in range(2)), *(club.settle() for _ in range(2))]
    ended = await asyncio.gather(*requests(club, member), *workers, return_exceptions=True)
    await club.shop.route()  # whom another was busy with
    return Counter(_name(each) for each in ended)


def requests(club: Club, member: str) -> list[Coroutine[Any, Any, httpx.Response]]:
    """Twelve spend, and three hold and let go again."""
    path = f"customers/{member}/points"
    spend = [club.post(f"{path}/deduct", points=20) for _ in range(12)]
    return [*spend, *(_hold_and_release(club, path) for _ in range(3))]


async def _hold_and_release(club: Club, path: str) -> httpx.Response:
    held = await club.post(f"{path}/hold", points=30)
    if held.status_code != 200:
        return held
    released = await club.post(f"holds/{held.json()['hold_id']}/release")
    return released if released.status_code != 200 else held


async def _route(club: Club) -> None:
    """A router of its own, as another process would run it."""
    routing = Routing(LiveCache())
    for _ in range(8):
        async with club.shop.database.transaction() as session:
            await routing.route(session, club.shop.now, 3)


def _name(ended: Any) -> str:  # an answer, an exception, or nothing
    match ended:
        case httpx.Response(status_code=200):
            return "held" if "hold_id" in ended.json() else "spent"
        case httpx.Response(status_code=409):
            return str(ended.json()["code"])
        case httpx.Response() | BaseException():
            return "failed"
        case _:
            return "done"
