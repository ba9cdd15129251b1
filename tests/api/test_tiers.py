"""Tiers over HTTP: where a customer stands, overrides with their reason, and a dry run of other thresholds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from sqlalchemy import select

from database.audit import AuditEntry
from database.events import Event
from database.session import Database
from tests.programmes import LEVELS, publish_programme, tiers
from tests.triggers.shop import Shop

NOW = datetime.now(UTC)
BEGUN = NOW - timedelta(days=300)


async def buys(database: Database, user_id: str, *totals: float) -> None:
    """Routed orders, half a day apart, the first five days ago."""
    shop = Shop(database, now=NOW - timedelta(days=5))
    for position, total in enumerate(totals):
        order = {"order_id": f"{user_id}-{position}", "total": total, "currency": "EUR"}
        await shop.track("Order Completed", order, user_id=user_id, message_id=f"{user_id}/{position}")
        shop.later(hours=12)


async def test_the_tier_comes_with_its_progress_and_history(client: httpx.AsyncClient, database: Database) -> None:
    await publish_programme(database, BEGUN)
    await buys(database, "ann", 6.00, 7.50)

    told = (await client.get("/v1/customers/ann/tier")).json()

    assert (told["tier"], told["measure"], told["currency"], told["override"]) == ("silver", "spend", "EUR", None)
    assert told["progress"]["next"] == {
        "tier": "gold", "threshold": 2_000, "figure": 1_350, "missing": 650, "by": None,
    }  # fmt: skip
    assert (told["progress"]["keep"]["figure"], told["progress"]["keep"]["missing"]) == (750, 0)
    [first] = told["history"]
    assert (first["tier"], first["until"], first["reason"], first["version"]) == ("silver", None, "qualified", 1)
    assert (first["evidence"]["figure"], first["evidence"]["threshold"]) == (600, 500)


async def test_without_a_programme_there_is_no_tier(client: httpx.AsyncClient, database: Database) -> None:
    await buys(database, "ann", 6.00)
    told = (await client.get("/v1/customers/ann/tier")).json()
    assert (told["tier"], told["history"], told["measure"]) == (None, [], None)
    refused = await client.put("/v1/customers/ann/tier", json={"tier": "gold", "reason": "a friend"})
    assert (refused.status_code, refused.json()["code"]) == (409, "no_programme")


async def test_a_tier_given_by_hand_holds_until_it_is_taken_away(client: httpx.AsyncClient, database: Database) -> None:
    await publish_programme(database, BEGUN)
    await buys(database, "ann", 6.00)

    given = await client.put("/v1/customers/ann/tier", json={"tier": "gold", "reason": "moved from the old club"})
    taken = await client.delete("/v1/customers/ann/tier", params={"reason": "a mistake"})

    assert given.status_code == 200
    assert (given.json()["tier"], given.json()["override"]["reason"]) == ("gold", "moved from the old club")
    assert (taken.json()["tier"], taken.json()["override"]) == ("silver", None)
    assert [past["reason"] for past in taken.json()["history"]] == ["override_ended", "override", "qualified"]
    async with database.read() as session:
        actions = (await session.execute(select(AuditEntry.action).order_by(AuditEntry.id))).scalars().all()
        events = (
            await session.execute(select(Event.name).where(Event.name.like("Tier %")).order_by(Event.id))
        ).scalars()
        assert list(events) == ["Tier Reached", "Tier Reached", "Tier Left"]
    assert actions == ["tier.give", "tier.take"]


async def test_an_override_with_an_end_says_when(client: httpx.AsyncClient, database: Database) -> None:
    await publish_programme(database, BEGUN)
    await buys(database, "ann", 1.00)
    until = (NOW + timedelta(days=30)).isoformat()
    given = await client.put("/v1/customers/ann/tier", json={"tier": "silver", "reason": "a trial", "until": until})
    assert datetime.fromisoformat(given.json()["override"]["until"]) == datetime.fromisoformat(until)


async def test_what_cannot_be_given_is_refused(client: httpx.AsyncClient, database: Database) -> None:
    await publish_programme(database, BEGUN)
    await buys(database, "ann", 1.00)
    yesterday = (NOW - timedelta(days=1)).isoformat()
    wishes: list[tuple[dict[str, Any], int, str]] = [
        ({"tier": "diamond", "reason": "why not"}, 409, "unknown_tier"),
        ({"tier": "gold", "reason": "too late", "until": yesterday}, 409, "ends_in_the_past"),
        ({"tier": "gold"}, 422, "invalid"),
    ]
    for wish, status, code in wishes:
        answer = await client.put("/v1/customers/ann/tier", json=wish)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    nobody = await client.get("/v1/customers/nobody/tier")
    assert (nobody.status_code, nobody.json()["code"]) == (404, "customer_not_found")


async def test_a_dry_run_says_who_would_move_and_writes_nothing(client: httpx.AsyncClient, database: Database) -> None:
    await publish_programme(database, BEGUN)
    await buys(database, "ann", 6.00)
    await buys(database, "bob", 12.00, 6.00)
    await buys(database, "cleo", 1.00)
    levels = [LEVELS[0], LEVELS[1] | {"from": 700}, LEVELS[2] | {"from": 1_500}]

    answer = await client.post("/v1/programmes/main/tiers/dry-run", json={"tiers": tiers(levels=levels)})

    assert answer.status_code == 200
    told = answer.json()
    assert (told["customers"], told["is_sample"]) == (3, False)
    assert told["now"] == {"silver": 2, "bronze": 1}
    assert told["moves"] == [{"from": "silver", "to": "gold", "customers": 1}]  # bob
    assert {"from": "silver", "to": "bronze", "customers": 1} in told["falls"]  # ann, when her year is over
    assert (await client.get("/v1/customers/bob/tier")).json()["tier"] == "silver"


async def test_a_dry_run_refuses_tiers_that_could_not_be_published(
    client: httpx.AsyncClient, database: Database
) -> None:
    await publish_programme(database, BEGUN)
    upside_down = tiers(levels=[LEVELS[2], LEVELS[1]])
    answer = await client.post("/v1/programmes/main/tiers/dry-run", json={"tiers": upside_down})
    assert (answer.status_code, answer.json()["code"]) == (409, "checks_failed")
    missing = await client.post("/v1/programmes/nothing/tiers/dry-run", json={})
    assert (missing.status_code, missing.json()["code"]) == (404, "programme_not_found")


async def test_the_same_override_twice_under_one_key_is_one(client: httpx.AsyncClient, database: Database) -> None:
    await publish_programme(database, BEGUN)
    await buys(database, "ann", 1.00)
    wish, key = {"tier": "gold", "reason": "a friend"}, {"Idempotency-Key": "k-1"}
    first, again = [await client.put("/v1/customers/ann/tier", json=wish, headers=key) for _ in range(2)]
    assert first.json() == again.json()
    assert len(again.json()["history"]) == 1


async def test_the_profile_and_messages_know_points_and_tier(client: httpx.AsyncClient, database: Database) -> None:
    await publish_programme(database, BEGUN)
    await buys(database, "ann", 6.00)
    await client.post("/v1/customers/ann/points/award", json={"points": 40, "reason": "a gift"})
    text = "{{ customer.tier }} with {{ customer.points.available }}"
    template = {"template": "standing", "channel": "email", "subject": text, "html": "<p>{{ customer.tier }}</p>"}
    await client.put("/v1/templates/standing", json=template)

    profile = (await client.get("/v1/customers/ann")).json()
    preview = (await client.post("/v1/templates/standing/preview", json={"customer_id": "ann"})).json()

    assert (profile["tier"], profile["points"]) == ("silver", {"available": 40, "pending": 0, "held": 0})
    assert preview["subject"] == "silver with 40"
