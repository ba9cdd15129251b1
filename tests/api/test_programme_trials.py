"""Dry runs of a programme: what they say of recorded events is what routing the same events pays."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import httpx
import orjson
import pytest

from database.session import Database
from domain.imports import ImportFormat, ImportKind
from tests.programmes import publish_programme
from tests.triggers.earning import BEGUN, buy, decided
from tests.triggers.shop import Shop
from tests.triggers.test_importing import take
from tests.triggers.test_past_earning import MONTHLY, RISING, YEAR

PAST: dict[str, Any] = {"earn": [MONTHLY], "tiers": RISING, "history_from": "2025-01-01"}


async def dry_run(client: httpx.AsyncClient, shop: Shop, since: str, document: Mapping[str, Any]) -> dict[str, Any]:
    saved = await client.put("/v1/programmes/main", json={"zone": "Europe/Berlin", **document})
    assert saved.status_code == 200, saved.text
    period = {"from": since, "to": (shop.now + timedelta(seconds=1)).isoformat()}
    answer = await client.post("/v1/programmes/main/dry-run", json=period)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def bring_a_year(shop: Shop, user_id: str) -> None:
    """The first order came back, so that gold is reached in February, where what comes next is clipped."""
    rows = [
        {
            "order_id": f"{user_id}-{day}",
            "user_id": user_id,
            "subtotal": paid,
            "total": paid,
            "refunded": 60 if day == "2025-01-10" else 0,
            "currency": "EUR",
            "completed_at": day,
        }
        for day, paid in YEAR.items()
    ]
    report = await take(shop, ImportKind.ORDERS, b"\n".join(map(orjson.dumps, rows)), ImportFormat.JSON_LINES)
    assert report.refused == 0


async def test_a_dry_run_over_a_year_says_what_importing_the_year_earns(
    client: httpx.AsyncClient, database: Database
) -> None:
    shop = Shop(database)
    await bring_a_year(shop, "ann")  # before there is a programme
    foreseen = await dry_run(client, shop, "2025-01-01T00:00:00+01:00", PAST)
    await publish_programme(database, BEGUN, **PAST)

    await bring_a_year(shop, "bob")
    earned = [(each.points, each.reason) for each in await decided(shop)]
    again = await dry_run(client, shop, "2025-01-01T00:00:00+01:00", PAST)

    assert earned == [(60, None), (60, None), (60, None), (90, "clipped"), (20, None)]
    assert foreseen["rules"] == [{"rule": "purchase", "paid": 5, "points": 290, "unpaid": {}}]
    assert (again["customers"], again["points"], again["paid_then"]) == (2, 580, 290)


async def test_a_dry_run_goes_on_from_what_was_decided_before_its_period(
    client: httpx.AsyncClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gold, and 50 of the month's 150 left, were reached the day before; a run that takes one event says so."""
    shop = Shop(database)
    await publish_programme(database, BEGUN, **PAST)
    await buy(shop, "o-1", 100)
    shop.later(days=1)
    today = shop.now.isoformat()
    await buy(shop, "o-2", 10)
    await buy(shop, "o-3", 30)

    whole = await dry_run(client, shop, today, PAST)
    monkeypatch.setattr("triggers.earning_trials.MOST_TRIED", 1)
    part = await dry_run(client, shop, today, PAST)

    assert (whole["points"], whole["paid_then"], whole["is_complete"]) == (50, 50, True)
    assert [each["reason"] for each in whole["samples"]] == [None, "clipped"]
    assert (part["events"], part["points"], part["is_complete"]) == (1, 20, False)
