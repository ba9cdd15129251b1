"""`POST /v1/loyalty/import` over HTTP."""

from __future__ import annotations

from uuid import UUID

import httpx
import pytest

from database.session import Database
from tests.api.test_programmes import publish
from tests.factories import make_customer

CSV = {"Content-Type": "text/csv"}
BODY = "user_id,points,expires_at\nann,1000,never\nnobody,5,never\n"


@pytest.fixture
async def ann(client: httpx.AsyncClient, database: Database) -> UUID:
    terms = {"value": {"amount": 2, "currency": "EUR"}, "cost_share": 0.5}
    assert (await publish(client, "main", points=terms)).status_code == 200
    return await make_customer(database, "ann")


@pytest.mark.usefixtures("ann")
async def test_balances_of_another_programme_are_tried_then_loaded_then_known(client: httpx.AsyncClient) -> None:
    tried = await client.post("/v1/loyalty/import?dry_run=true", content=BODY, headers=CSV)
    nothing = (await client.get("/v1/customers/ann/points")).json()
    loaded = await client.post("/v1/loyalty/import", content=BODY, headers=CSV)
    again = await client.post("/v1/loyalty/import", content=BODY, headers=CSV)

    totals = {"members": 1, "lots": 1, "points": 1000, "pending": 0, "owed": 0, "tiers": {}}
    assert tried.json() == {
        "rows": 2,
        "imported": 1,
        "duplicates": 0,
        "rejected": 1,
        "dry_run": True,
        "totals": totals,
        "errors": [{"row": 2, "code": "customer_unknown", "message": tried.json()["errors"][0]["message"]}],
    }
    assert nothing["available"] == 0
    assert loaded.json() == tried.json() | {"dry_run": False}
    assert (again.json()["imported"], again.json()["duplicates"]) == (0, 1)
    assert (await client.get("/v1/customers/ann/points")).json()["available"] == 1000
    liability = (await client.get("/v1/programmes/main/liability")).json()
    assert (liability["outstanding"], liability["liability"]) == (1000, {"amount": 1000, "currency": "EUR"})


async def test_moving_in_needs_the_right_to_write_loyalty(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/loyalty/import", content=BODY, headers={"Authorization": "Bearer nonsense"})
    assert answer.status_code == 401
