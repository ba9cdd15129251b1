"""A run whose messages a browser's word holds back says so over HTTP."""

from __future__ import annotations

import httpx

from database.runs import Run
from database.session import Database
from domain.ids import new_id
from domain.runs import silenced
from tests.factories_journeys import NOW, make_customer, make_run


async def test_a_run_and_its_customers_timeline_say_that_and_why_it_is_silenced(
    client: httpx.AsyncClient, database: Database
) -> None:
    ann, told = await make_customer(database, "ann"), new_id()
    run = await make_run(database, "gift", step="pause", outcome="waiting", customer_id=ann)
    loud = (await client.get(f"/v1/runs/{run}")).json()
    async with database.transaction() as session:
        (await session.get_one(Run, run)).silenced = silenced("exit: Club Left", told, NOW)

    shown = (await client.get(f"/v1/runs/{run}")).json()
    timeline = (await client.get("/v1/customers/ann/timeline")).json()["data"]

    why = {"reason": "exit: Club Left", "event_id": str(told)}
    assert loud["silenced"] is None
    assert shown["silenced"] == {**why, "at": NOW.isoformat().replace("+00:00", "Z")}
    assert (shown["state"], shown["trusted"]) == ("active", True)
    [entry] = [each for each in timeline if each["kind"] == "run"]
    assert entry["detail"] == {**why, "run_id": str(run), "outcome": "silenced"}
