"""Journeys and orders of the tests of turns: what a browser began, and what the shop says of it."""

from __future__ import annotations

from typing import Any

from database.runs import Run
from tests.triggers.shop import Shop

PAID = "Order Paid"
AWARD = {"points": {"award": 100}, "id": "award"}
PAUSE = {"wait": {"for": "1h"}, "id": "pause"}
MAIL = {"send": {"template": "hello"}, "id": "mail"}
SUPERSEDED, UNDER_WAY = ("exited", "superseded"), ("active", None)


def journey(*steps: Any, key: str = "gift", **enter: Any) -> dict[str, Any]:
    on = {"on": {"event": PAID}, "occasion": "properties.order_id", **enter}
    return {"journey": key, "purpose": "transactional", "enter": on, "steps": list(steps)}


def receipt(**enter: Any) -> dict[str, Any]:
    return journey(PAUSE, MAIL, key="receipt", **enter)


async def pay(shop: Shop, order_id: str = "o-1", *, browser: bool = False, **given: Any) -> None:
    await shop.track(PAID, {"order_id": order_id}, trusted=not browser, **given)


async def states(shop: Shop) -> list[tuple[str, str | None]]:
    """Of all runs, the oldest first."""
    return [(run.state, run.reason) for run in await shop.runs()]


async def trusted_runs(shop: Shop) -> list[Run]:
    return [run for run in await shop.runs() if run.trusted]
