"""Suppressions over HTTP: an address is anybody's, its class says what it covers, and a release says who and why."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import select
from typer.testing import CliRunner, Result

from api.dependencies import ApiDependencies
from database.audit import AuditEntry
from database.session import Database
from database.suppressions import suppressions_of
from perennial.cli import app
from tests.addressing import Clock
from tests.factories import make_customer

ANN = "ann@shop.example"


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime(2026, 6, 10, 9, tzinfo=UTC))


@pytest.fixture
def api_dependencies(database: Database, clock: Clock) -> ApiDependencies:
    return ApiDependencies(database=database, now=clock)


async def add(client: httpx.AsyncClient, **wish: Any) -> dict[str, Any]:
    answer = await client.post("/v1/suppressions", json={"address": ANN, **wish})
    assert answer.status_code == 200, answer.text
    row: dict[str, Any] = answer.json()
    return row


async def listed(client: httpx.AsyncClient, **params: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (await client.get("/v1/suppressions", params=params)).json()["data"]
    return rows


async def in_force(database: Database, clock: Clock, address: str = ANN) -> list[str]:
    async with database.read() as session:
        found = await suppressions_of(session, "email", [address], clock.now)
    return [row.reason for rows in found.values() for row in rows]


async def test_somebody_who_is_no_customer_objects_and_is_found_by_any_spelling(client: httpx.AsyncClient) -> None:
    added = await add(client, note="wrote us a letter")

    assert (added["reason"], added["covers"], added["note"]) == ("objection", "marketing", "wrote us a letter")
    assert [row["id"] for row in await listed(client, address=" ANN@Shop.example")] == [added["id"]]
    assert await listed(client, address="bob@shop.example") == []
    assert (await add(client, note="again"))["note"] == "wrote us a letter"


async def test_the_profile_shows_what_stands_against_the_customers_address(
    client: httpx.AsyncClient, database: Database
) -> None:
    await make_customer(database, "ann", traits={"email": ANN})
    added = await add(client, reason="manual")

    profile = (await client.get("/v1/customers/ann")).json()
    export = (await client.get("/v1/customers/ann/export")).json()

    assert profile["suppressions"] == export["profile"]["suppressions"] == [added]


async def test_a_release_says_who_and_why_and_is_made_once(
    client: httpx.AsyncClient, database: Database, clock: Clock
) -> None:
    added = await add(client, reason="hard_bounce")
    path = f"/v1/suppressions/{added['id']}/release"

    assert (await client.post(path, json={})).status_code == 422
    released = (await client.post(path, json={"reason": "the mailbox works again"})).json()
    again = await client.post(path, json={"reason": "once more"})

    assert released["released"]["note"] == "the mailbox works again"
    assert released["released"]["by"]
    assert (again.status_code, again.json()["code"]) == (409, "released")
    assert await in_force(database, clock) == []
    assert [row["id"] for row in await listed(client, released=True)] == [added["id"]]
    async with database.read() as session:
        acts = (await session.execute(select(AuditEntry.action, AuditEntry.detail).order_by(AuditEntry.id))).all()
    assert [act.action for act in acts] == ["suppress", "release"]
    assert "mailbox" not in str(acts)  # words about people stand with the row, from which an erasure takes them

    await add(client, reason="hard_bounce")  # it bounces again
    assert await in_force(database, clock) == ["hard_bounce"]


async def test_a_full_mailbox_is_written_to_again_after_a_while(
    client: httpx.AsyncClient, database: Database, clock: Clock
) -> None:
    await add(client, reason="mailbox")
    assert await in_force(database, clock) == ["mailbox"]

    clock.tick(timedelta(days=15).total_seconds())

    assert await in_force(database, clock) == []


async def test_what_is_exported_can_be_imported_and_bad_rows_are_told(
    client: httpx.AsyncClient, database: Database, clock: Clock
) -> None:
    await add(client, reason="complaint")
    exported = (await client.get("/v1/suppressions/export")).content
    rows = (
        exported.replace(b"ann@", b"bob@") + b'{"address": "nobody"}\n{"address": "c@d.example", "reason": "erased"}\n'
    )

    report = (await client.post("/v1/suppressions/import", content=rows)).json()
    csv = {"Content-Type": "text/csv"}
    mailer = await client.post(
        "/v1/suppressions/import", content="email,reason\neve@shop.example,hard_bounce\n", headers=csv
    )

    assert orjson.loads(exported)["address"] == ANN
    assert (report["imported"], [each["code"] for each in report["errors"]]) == (
        1,
        ["address_malformed", "reason_unknown"],
    )
    assert mailer.json()["imported"] == 1
    assert await in_force(database, clock, "bob@shop.example") == ["complaint"]
    assert await in_force(database, clock, "eve@shop.example") == ["hard_bounce"]


async def test_pages_lead_through_all_and_ids_of_nobody_are_not_found(client: httpx.AsyncClient) -> None:
    for name in ("a", "b", "c"):
        await add(client, address=f"{name}@shop.example")
    first = (await client.get("/v1/suppressions", params={"limit": 2})).json()
    rest = (await client.get("/v1/suppressions", params={"limit": 2, "cursor": first["next_cursor"]})).json()

    assert len({row["id"] for row in first["data"] + rest["data"]}) == 3
    nobody = "/v1/suppressions/01930a8e-7c1c-7b6e-b4a4-0d6f3a2b9c11/release"
    assert (await client.post(nobody, json={"reason": "x"})).json()["code"] == "suppression_not_found"
    assert (await client.post("/v1/suppressions", json={"address": "no address"})).status_code in (400, 422)


async def test_the_command_line_lists_adds_and_releases(
    database: Database, database_url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERENNIAL_DATABASE_URL", database_url)

    async def do(*words: str) -> str:
        result = await asyncio.to_thread(CliRunner().invoke, app, ["suppressions", *words])
        assert result.exit_code == 0, result.output
        return result.output

    id_ = (await do("add", ANN, "--note", "a letter")).split()[-1]
    assert id_ in await do("list", "--address", ANN)
    await do("release", id_, "--reason", "a mistake")
    assert "No suppression" in await do("list")


async def test_the_command_line_exports_what_another_shop_can_import(
    client: httpx.AsyncClient, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERENNIAL_DATABASE_URL", database_url)
    kept = await add(client, note="a letter")
    gone = await add(client, address="bob@shop.example")
    await client.post(f"/v1/suppressions/{gone['id']}/release", json={"reason": "a mistake"})
    file = tmp_path / "suppressions.jsonl"

    def do(*words: str) -> Result:
        return CliRunner().invoke(app, ["suppressions", *words])

    made, again, shown = [await asyncio.to_thread(do, "export", to) for to in (str(file), str(file), "-")]
    taken = await asyncio.to_thread(do, "import", str(file))

    (line,) = file.read_text().splitlines()
    assert (orjson.loads(line)["id"], orjson.loads(line)["note"]) == (kept["id"], "a letter")
    assert (made.exit_code, again.exit_code, line in shown.output) == (0, 2, True)
    assert "1 taken, 0 refused" in taken.output
    assert file.stat().st_mode & 0o077 == 0
