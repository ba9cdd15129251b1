"""Erasing a customer of a running stack: out of reach at once, gone everywhere soon, and not brought back (G24)."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest
from segment.analytics.client import Client as Segment
from temporalio.client import Client as Temporal

from tests.scenarios.conftest import Stack, eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

JOURNEY = {
    "journey": "farewell",
    "purpose": "marketing",
    "enter": {"on": {"event": "Wishlist Product Added"}, "occasion": "properties.wishlist_id"},
    "steps": [{"send": {"template": "cart-reminder"}}, {"wait": {"id": "long", "for": "30d"}}],
}


class Person:
    """Somebody whose every name is a canary."""

    def __init__(self, stack: Stack) -> None:
        mark = uuid.uuid4().hex[:12]
        self.id = f"canary/{mark}"
        self.email = f"canary-{mark}@example.com"
        self.canaries = [self.id, self.email, f"browser-{mark}", f"Nachtigall-{mark}", f"wish-{mark}"]
        self.path = f"/v1/customers/{quote(self.id, safe='')}"
        self.lived_at = datetime.now(UTC)
        self.stack = stack

    def live(self) -> None:
        """What a customer leaves behind: traits, consent, events, a run, a mail."""
        _, _, browser, name, wish = self.canaries
        segment = Segment(self.stack.addresses["write_key"], host=self.stack.addresses["api"], upload_interval=0.05)
        segment.identify(self.id, {"email": self.email, "first_name": name}, anonymous_id=browser)
        segment.track(self.id, "Wishlist Product Added", {"wishlist_id": wish, "name": name})
        segment.flush()
        segment.join()

    def answer(self, method: str, path: str = "", **options: Any) -> tuple[int, dict[str, Any]]:
        """Status and body of one request about this person."""
        answer = self.stack.client.request(method, self.path + path, **options)
        return answer.status_code, answer.json()


@pytest.fixture
def person(stack: Stack) -> Person:
    """A customer in the middle of a journey, with a mail in the inbox."""
    stack.publish(JOURNEY)
    person = Person(stack)
    assert person.answer("PUT", "/consent", json={"state": "subscribed", "ip": person.canaries[2]})[0] == 200
    person.live()
    eventually(lambda: stack.mailbox.of(person.email), lambda mails: len(mails) == 1)
    return person


async def test_an_erased_customer_is_out_of_reach_at_once_gone_soon_and_never_comes_back(
    stack: Stack, person: Person
) -> None:
    _, profile = person.answer("GET")
    _, export = person.answer("GET", "/export")
    assert [len(export[part]) for part in ("consents", "messages", "runs")] == [1, 1, 1]
    assert await tables_with(stack, person)

    status, job = person.answer("DELETE")

    assert (status, job["state"]) == (202, "requested")
    assert person.answer("GET")[0] == 404
    done = eventually(
        lambda: stack.get(f"/v1/erasures/{job['id']}"), lambda told: told["state"] == "completed", within=150
    )
    assert (done["clean"], done["proof"]["found"], done["proof"]["workflows"]) == (True, {}, {"deleted": 1})
    assert await tables_with(stack, person) == set()
    assert await workflows_of(stack, profile["internal_id"]) == []
    history = await history_of(stack, job["id"])
    assert [canary for canary in person.canaries if canary in history] == []

    bring_back(stack, person)

    assert person.answer("GET")[0] == 404
    assert len(stack.mailbox.of(person.email)) == 1


def bring_back(stack: Stack, person: Person) -> None:
    """A replay of old events, and an import of the shop's list of customers."""
    event = {"type": "track", "userId": person.id, "event": "Wishlist Product Added", "messageId": uuid.uuid4().hex}
    old = {**event, "timestamp": person.lived_at.isoformat(), "properties": {"wishlist_id": person.canaries[4]}}
    key = {"Authorization": f"Bearer {stack.addresses['write_key']}"}
    assert stack.client.post("/v1/batch", json={"batch": [old]}, headers=key).json()["accepted"] == 1
    csv = f"user_id,email\n{person.id},{person.email}\n"
    report = stack.client.post("/v1/customers/import", content=csv, headers={"Content-Type": "text/csv"}).json()
    assert [problem["code"] for problem in report["errors"]] == ["erased"]
    # Whatever is taken in after them has been routed, so they have been too.
    witness = f"/v1/customers/witness-{uuid.uuid4().hex}"
    assert stack.client.patch(witness, json={"traits": {"seen": True}}).status_code == 200


async def tables_with(stack: Stack, person: Person) -> set[str]:
    """The tables, partitions too, in which any canary stands as text, JSON or bytes."""
    connection = await asyncpg.connect(stack.addresses["database_url"])
    try:
        every = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        tables = [row["relname"] for row in await connection.fetch(every)]
        needles = person.canaries + [canary.encode().hex() for canary in person.canaries]
        query = 'SELECT EXISTS (SELECT FROM "{}" t, unnest($1::text[]) needle WHERE strpos(t::text, needle) > 0)'
        return {table for table in tables if await connection.fetchval(query.format(table), needles)}
    finally:
        await connection.close()


async def workflows_of(stack: Stack, internal_id: str) -> list[str]:
    temporal = await Temporal.connect(stack.addresses["temporal_address"])
    return [each.id async for each in temporal.list_workflows(f'CustomerId = "{internal_id}"')]


async def history_of(stack: Stack, job: str) -> str:
    """Everything that Temporal keeps of the erasure itself."""
    temporal = await Temporal.connect(stack.addresses["temporal_address"])
    return (await temporal.get_workflow_handle(f"erasure/{job}").fetch_history()).to_json()
