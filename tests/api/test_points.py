"""Points over HTTP: the shapes that shops rely on, refusals, and that a request counts once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text
from structlog.testing import capture_logs
from temporalio.testing import ActivityEnvironment

from activities.settling import SettlingActivities, SettlingStep
from api.dependencies import ApiDependencies
from database import accounts, points
from database.session import Database
from domain.points import Capture
from tests.api.clock import Clock
from tests.api.repeating import until_answered
from tests.api.test_programmes import publish
from tests.factories import NOON, make_customer
from tests.programmes import archive_programme


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
def api_dependencies(database: Database, clock: Clock) -> ApiDependencies:
    return ApiDependencies(database=database, now=clock)


@pytest.fixture
async def ann(client: httpx.AsyncClient, database: Database) -> UUID:
    terms = {"value": {"amount": 2, "currency": "EUR"}, "cost_share": 0.85}
    assert (await publish(client, "main", points=terms)).status_code == 200
    return await make_customer(database, "ann")


async def post(client: httpx.AsyncClient, path: str, **body: Any) -> httpx.Response:
    return await client.post(f"/v1/{path}", json=body)


@pytest.mark.usefixtures("ann")
async def test_points_are_awarded_and_shown_with_their_lots(client: httpx.AsyncClient) -> None:
    soon = (NOON + timedelta(days=10)).isoformat().replace("+00:00", "Z")

    awarded = await post(client, "customers/ann/points/award", points=100, reason="a late parcel", expires_at=soon)
    shown = await client.get("/v1/customers/ann/points")

    assert awarded.status_code == 200, awarded.text
    assert awarded.json()["balance"] == {"available": 100, "pending": 0, "held": 0}
    assert UUID(awarded.json()["transaction_id"]).version == 7
    noon = NOON.isoformat().replace("+00:00", "Z")
    lot = {"original": 100, "remaining": 100, "earned_at": noon, "activates_at": None, "expires_at": soon}
    assert shown.json() == {
        "available": 100,
        "pending": 0,
        "held": 0,
        "issued": 100,
        "earned": 0,
        "spent": 0,
        "expired": 0,
        "next_expiry": {"points": 100, "at": soon},
        "lots": [{**lot, "source": "award"}],
    }


@pytest.mark.usefixtures("ann")
async def test_a_deduction_beyond_the_balance_is_refused_and_writes_nothing(client: httpx.AsyncClient) -> None:
    await post(client, "customers/ann/points/award", points=100, reason="gift")

    refused = await post(client, "customers/ann/points/deduct", points=101, reason="reward")

    assert (refused.status_code, refused.json()["code"]) == (409, "insufficient_points")
    assert len((await client.get("/v1/customers/ann/points/history")).json()["data"]) == 1


@pytest.mark.usefixtures("ann")
async def test_a_hold_is_captured_in_part_and_then_ended(client: httpx.AsyncClient) -> None:
    await post(client, "customers/ann/points/award", points=100, reason="gift")
    held = (await post(client, "customers/ann/points/hold", points=80, reason="checkout")).json()

    captured = await post(client, f"holds/{held['hold_id']}/capture", points=50)
    again = await post(client, f"holds/{held['hold_id']}/capture", points=50)
    released = await client.post(f"/v1/holds/{held['hold_id']}/release")

    assert set(held) == {"hold_id", "points", "expires_at"}
    assert captured.json()["balance"] == {"available": 50, "pending": 0, "held": 0}
    assert [(each.status_code, each.json()["code"]) for each in (again, released)] == [(409, "hold_ended")] * 2


@pytest.mark.usefixtures("ann")
async def test_a_hold_is_refused_from_its_end_on(client: httpx.AsyncClient, clock: Clock) -> None:
    await post(client, "customers/ann/points/award", points=100, reason="gift")
    held = (await post(client, "customers/ann/points/hold", points=80)).json()
    clock.now = datetime.fromisoformat(held["expires_at"])

    refused = await client.post(f"/v1/holds/{held['hold_id']}/capture")
    shown = (await client.get("/v1/customers/ann/points")).json()

    assert (refused.status_code, refused.json()["code"]) == (409, "hold_expired")
    assert (shown["available"], shown["held"]) == (100, 0)


async def test_capture_release_and_time_out_at_once_end_a_hold_once(
    client: httpx.AsyncClient, database: Database, ann: UUID
) -> None:
    held = await _hold(client)
    ends = [client.post(f"/v1/holds/{held['hold_id']}/{'capture' if n % 2 else 'release'}") for n in range(10)]
    late = SettlingStep(since=NOON, as_of=datetime.fromisoformat(held["expires_at"]))
    settled = ActivityEnvironment().run(SettlingActivities(database).settle_accounts, late)

    *answers, _ = await asyncio.gather(*ends, settled)

    told = sorted(answer.status_code for answer in answers if isinstance(answer, httpx.Response))
    assert told in ([200] + [409] * 9, [409] * 10)  # the time-out may have come first
    shown = (await client.get("/v1/customers/ann/points")).json()
    assert (shown["available"] + shown["spent"], shown["held"]) == (100, 0)


async def test_a_release_during_a_capture_waits_for_it_and_finds_the_hold_ended(
    client: httpx.AsyncClient, database: Database, ann: UUID
) -> None:
    released = await _release_during_a_capture(client, database, ann)

    assert (released.status_code, released.json()["code"]) == (409, "hold_ended")


async def test_a_copy_of_the_code_without_the_lock_fails_the_test_above(
    client: httpx.AsyncClient, database: Database, ann: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It finds the hold open; only the keys of the entries keep that hold from ending twice."""
    monkeypatch.setattr(accounts, "_LOCK", accounts._READ)

    with capture_logs():  # a traceback takes longer than all the rest
        released = await _release_during_a_capture(client, database, ann)

    assert released.status_code == 500


async def _hold(client: httpx.AsyncClient) -> dict[str, Any]:
    await post(client, "customers/ann/points/award", points=100, reason="gift")
    return dict((await post(client, "customers/ann/points/hold", points=80)).json())


async def _release_during_a_capture(client: httpx.AsyncClient, database: Database, ann: UUID) -> httpx.Response:
    hold_id = (await _hold(client))["hold_id"]
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    async with database.transaction() as session:
        await points.post(session, "main", [Capture(ann, "first", UUID(hold_id))], NOON)
        released = asyncio.create_task(client.post(f"/v1/holds/{hold_id}/release"))
        async with asyncio.timeout(60):
            while not await session.scalar(waiting):
                await asyncio.sleep(0.01)
    return await released


async def test_an_adjustment_needs_a_reason_and_keeps_who_made_it(
    client: httpx.AsyncClient, ann: UUID, api_server: Any
) -> None:
    unexplained = await post(client, "customers/ann/points/adjust", points=10)
    up = await post(client, "customers/ann/points/adjust", points=10, reason="counted wrong")
    down = await post(client, "customers/ann/points/adjust", points=-4, reason="counted wrong again")
    below = await post(client, "customers/ann/points/adjust", points=-7, reason="too much")
    rows = (await client.get("/v1/customers/ann/points/history")).json()["data"]

    assert (unexplained.status_code, up.status_code, down.status_code, below.status_code) == (422, 200, 200, 409)
    assert [(row["kind"], row["points"], row["reason"]) for row in rows] == [
        ("adjust", -4, "counted wrong again"),
        ("adjust", 10, "counted wrong"),
    ]
    assert {row["author"] for row in rows} == {api_server.admin_key.split("_")[1]}


@pytest.mark.usefixtures("ann")
async def test_a_request_under_one_key_counts_once_however_often_it_comes(client: httpx.AsyncClient) -> None:
    """vendo 1297 took another body under one key (R22); mollie 320 credited a repeated webhook twice (R21)."""
    headers = {"Idempotency-Key": "award-1"}
    wish = {"points": 100, "reason": "gift"}

    async def award() -> httpx.Response:
        return await client.post("/v1/customers/ann/points/award", json=wish, headers=headers)

    answers = await asyncio.gather(*(until_answered(award) for _ in range(50)))
    other = await client.post("/v1/customers/ann/points/award", json={**wish, "points": 1}, headers=headers)

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_mismatch")
    assert (await client.get("/v1/customers/ann/points")).json()["available"] == 100


@pytest.mark.usefixtures("ann")
async def test_points_are_given_to_a_friend_but_not_to_oneself(client: httpx.AsyncClient, database: Database) -> None:
    await make_customer(database, "bob")
    await post(client, "customers/ann/points/award", points=100, reason="gift")

    given = await post(client, "customers/ann/points/transfer", to="bob", points=40)
    own = await post(client, "customers/ann/points/transfer", to="ann", points=40)

    assert given.json()["balance"]["available"] == 60
    assert (await client.get("/v1/customers/bob/points")).json()["available"] == 40
    assert (own.status_code, own.json()["code"]) == (409, "same_customer")


async def test_without_a_programme_no_points_move(client: httpx.AsyncClient, database: Database) -> None:
    await make_customer(database, "ann")

    refused = await post(client, "customers/ann/points/award", points=100, reason="gift")

    assert (refused.status_code, refused.json()["code"]) == (409, "no_programme")


@pytest.mark.usefixtures("ann")
async def test_balances_of_a_programme_that_is_archived_can_still_be_looked_at(
    client: httpx.AsyncClient, database: Database
) -> None:
    await post(client, "customers/ann/points/award", points=100, reason="gift")
    await archive_programme(database)

    refused = await post(client, "customers/ann/points/award", points=1, reason="gift")
    history = (await client.get("/v1/customers/ann/points/history")).json()

    assert refused.json()["code"] == "no_programme"
    assert (await client.get("/v1/customers/ann/points")).json()["available"] == 100
    assert [each["points"] for each in history["data"]] == [100]


@pytest.mark.usefixtures("ann")
async def test_liability_is_worked_out_of_the_ledger(client: httpx.AsyncClient, clock: Clock) -> None:
    """300 issued, 60 spent, 40 lapsed: 200 points at 2 cents x 85 %, of which 60 in 100 are redeemed: 204 cents."""
    soon = (NOON + timedelta(days=1)).isoformat()
    await post(client, "customers/ann/points/award", points=100, expires_at=soon)
    await post(client, "customers/ann/points/award", points=200)
    await post(client, "customers/ann/points/deduct", points=60)
    clock.now = NOON + timedelta(days=2)
    await post(client, "customers/ann/points/hold", points=1)

    figures = (await client.get("/v1/programmes/main/liability")).json()

    assert (figures["issued"], figures["redeemed"], figures["expired"], figures["outstanding"]) == (300, 60, 40, 200)
    assert figures["redemption_rate"] == {"rate": 0.2, "numerator": 60, "denominator": 300}
    assert figures["expected_redemption_rate"] == {"rate": 0.6, "numerator": 60, "denominator": 100}
    assert figures["liability"] == {"amount": 204, "currency": "EUR"}
    assert datetime.fromisoformat(figures["to"]).astimezone(UTC) == clock.now


@pytest.mark.usefixtures("ann")
@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00"])
async def test_a_moment_at_an_end_of_the_calendar_is_refused_and_the_account_stays_readable(
    client: httpx.AsyncClient, moment: str
) -> None:
    awarded = await post(client, "customers/ann/points/award", points=100, expires_at=moment)
    asked = await client.get("/v1/programmes/main/liability", params={"from": moment})

    assert (awarded.status_code, awarded.json()["errors"][0]["pointer"]) == (422, "/expires_at")
    assert (asked.status_code, asked.json()["errors"][0]["pointer"]) == (422, "/query/from")
    assert (await client.get("/v1/customers/ann/points")).json()["lots"] == []
