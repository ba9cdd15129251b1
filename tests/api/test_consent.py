"""Consent over HTTP: recorded once, with its evidence, and in force at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import select, update

from database.audit import AuditEntry
from database.consent import Consent, history
from database.events import Event
from database.messages import Message
from database.session import Database
from domain.ids import new_id
from tests.factories import NOON, make_customer


async def claimed_message(database: Database, customer_id: UUID, purpose: str, channel: str = "email") -> UUID:
    """A message that waits in the line before its provider."""
    message_id = new_id()
    async with database.transaction() as session:
        session.add(
            Message(
                id=message_id,
                customer_id=customer_id,
                channel=channel,
                purpose=purpose,
                template="t",
                state="claimed",
                created_at=NOON,
            )
        )
    return message_id


async def state_of(database: Database, message_id: UUID) -> tuple[str, str | None]:
    async with database.read() as session:
        message = await session.get_one(Message, message_id)
    return message.state, message.reason


async def test_consent_is_recorded_with_its_evidence_and_shown_on_the_profile(
    client: httpx.AsyncClient, database: Database
) -> None:
    ours = await make_customer(database, "ann")
    consent = {
        "purpose": "marketing",
        "channel": "email",
        "state": "subscribed",
        "source": "checkout",
        "text": "I want the newsletter (v3)",
        "ip": "192.0.2.1",
        "evidence": {"form": 7},
    }

    answer = await client.put("/v1/customers/ann/consent", json=consent)

    assert (answer.status_code, answer.json()["state"], answer.json()["source"]) == (200, "subscribed", "api")
    assert (await client.get("/v1/customers/ann")).json()["consent"] == [answer.json()]
    assert (await client.get("/v1/customers/ann/consent")).json() == {"data": [answer.json()]}
    async with database.read() as session:
        (record,) = await history(session, ours)
    assert record.evidence == {
        "form": 7,
        "source": "checkout",
        "text": "I want the newsletter (v3)",
        "ip": "192.0.2.1",
    }


async def test_the_latest_word_counts_for_each_purpose_and_channel_and_all_are_kept(
    client: httpx.AsyncClient, database: Database
) -> None:
    ours = await make_customer(database, "ann")
    words: list[dict[str, Any]] = [
        {"purpose": "marketing", "state": "subscribed"},
        {"purpose": "news", "state": "subscribed"},
        {"purpose": "marketing", "state": "unsubscribed"},
        {"purpose": "marketing", "channel": "sms", "state": "subscribed"},
    ]

    for word in words:
        assert (await client.put("/v1/customers/ann/consent", json=word)).status_code == 200

    shown = (await client.get("/v1/customers/ann/consent")).json()["data"]
    assert [(each["purpose"], each["channel"], each["state"]) for each in shown] == [
        ("marketing", "email", "unsubscribed"),
        ("marketing", "sms", "subscribed"),
        ("news", "email", "subscribed"),
    ]
    async with database.read() as session:
        assert len(await history(session, ours)) == 4


async def test_a_withdrawal_cancels_what_waits_for_the_provider_but_nothing_transactional(
    client: httpx.AsyncClient, database: Database
) -> None:
    ours = await make_customer(database, "ann")
    offer = await claimed_message(database, ours, "marketing")
    news = await claimed_message(database, ours, "news")
    text_message = await claimed_message(database, ours, "marketing", "sms")
    receipt = await claimed_message(database, ours, "transactional")

    await client.put("/v1/customers/ann/consent", json={"purpose": "news", "state": "unsubscribed"})
    assert [(await state_of(database, each))[0] for each in (offer, news)] == ["claimed", "cancelled"]
    await client.put("/v1/customers/ann/consent", json={"purpose": "marketing", "state": "unsubscribed"})

    assert [await state_of(database, each) for each in (offer, text_message, receipt)] == [
        ("cancelled", "unsubscribed"),
        ("claimed", None),
        ("claimed", None),
    ]


async def test_a_consent_is_an_event_that_journeys_can_wait_for_and_is_recorded_once(
    client: httpx.AsyncClient, database: Database
) -> None:
    await make_customer(database, "ann")

    await client.put("/v1/customers/ann/consent", json={"purpose": "news", "state": "unsubscribed"})

    async with database.read() as session:
        event = (await session.execute(select(Event))).scalar_one()
        record = (await session.execute(select(Consent))).scalar_one()
    assert (event.name, event.source, event.user_id) == ("Consent Withdrawn", "api", "ann")
    assert event.properties == {"purpose": "news", "channel": "email"}
    assert record.event_id == event.id


async def test_a_consent_that_was_asked_for_is_pending_until_it_is_confirmed(
    client: httpx.AsyncClient, database: Database
) -> None:
    await make_customer(database, "ann")

    answer = await client.put("/v1/customers/ann/consent", json={"state": "pending"})

    assert (answer.status_code, answer.json()["state"]) == (200, "pending")
    assert (await client.get("/v1/customers/ann/consent")).json() == {"data": [answer.json()]}
    async with database.read() as session:
        event = (await session.execute(select(Event))).scalar_one()
    assert (event.name, event.properties) == ("Consent Requested", {"purpose": "marketing", "channel": "email"})


async def test_consent_for_an_id_that_no_router_has_taken_up_is_not_applied_and_says_so(
    client: httpx.AsyncClient, database: Database
) -> None:
    headers = {"Idempotency-Key": "newsletter-1"}
    answers = [
        await client.put("/v1/customers/new/consent", json={"state": "subscribed"}, headers=headers) for _ in range(2)
    ]

    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(503, "customer_pending")}
    async with database.read() as session:
        event = (await session.execute(select(Event))).scalar_one()  # repeated, it says nothing twice
        assert (await session.execute(select(Consent))).first() is None
    assert (event.kind, event.user_id, event.status) == ("identify", "new", "pending")


async def test_consent_of_another_shape_is_refused(client: httpx.AsyncClient, database: Database) -> None:
    await make_customer(database, "ann")
    bodies: list[dict[str, Any]] = [
        {},
        {"state": "perhaps"},
        {"state": "subscribed", "channel": "pigeon"},
        {"state": "subscribed", "purpose": "Not A Key"},
        {"state": "subscribed", "since": "ever"},
    ]

    for body in bodies:
        assert (await client.put("/v1/customers/ann/consent", json=body)).status_code == 422, body


async def test_the_same_request_again_records_nothing_new(client: httpx.AsyncClient, database: Database) -> None:
    ours = await make_customer(database, "ann")

    for _ in range(2):
        await client.put(
            "/v1/customers/ann/consent", json={"state": "subscribed"}, headers={"Idempotency-Key": "form-7"}
        )

    async with database.read() as session:
        assert len(await history(session, ours)) == 1


async def test_the_audit_log_names_the_customer_by_our_own_id(client: httpx.AsyncClient, database: Database) -> None:
    ours = await make_customer(database, "ann@example.com")

    await client.put("/v1/customers/ann%40example.com/consent", json={"state": "subscribed"})

    async with database.read() as session:
        entry = (await session.execute(select(AuditEntry))).scalar_one()
    assert (entry.action, entry.target) == ("consent", f"customer/{ours}")


async def test_a_withdrawal_by_api_counts_after_a_consent_dated_ahead(
    client: httpx.AsyncClient, database: Database
) -> None:
    await make_customer(database, "ann")
    await client.put("/v1/customers/ann/consent", json={"state": "subscribed"})
    ahead = datetime.now(UTC) + timedelta(hours=20)
    async with database.transaction() as session:
        await session.execute(update(Consent).values(at=ahead))

    answer = await client.put("/v1/customers/ann/consent", json={"state": "unsubscribed"})
    shown = (await client.get("/v1/customers/ann/consent")).json()["data"]

    assert datetime.fromisoformat(answer.json()["at"]) == ahead + timedelta(microseconds=1)
    assert [each["state"] for each in shown] == ["unsubscribed"]
