"""What is personal is kept as long as the shop says, class by class; unless it says so, for ever."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from sqlalchemy import select, update

from database.audit import AuditEntry
from database.consent import Consent
from database.customers import Customer
from database.erasures import Erasure
from database.events import Event
from database.messages import Message
from database.runs import Run
from database.session import Database
from domain.ids import new_id
from domain.retention import Class
from perennial.doctor import examine
from tests.factories import make_customer
from tests.sending import add_run
from tests.triggers.shop import Shop
from triggers.ageing import Keeper

CONTEXT = {"ip": "192.0.2.7", "userAgent": "Firefox", "timezone": "Europe/Berlin", "locale": "de-DE"}


def later(**period: int) -> datetime:
    return datetime.now(UTC) + timedelta(**period)


async def save(client: httpx.AsyncClient, **retention: int) -> httpx.Response:
    return await client.put("/v1/settings", json={"retention": retention})


async def forget(database: Database, at: datetime, page: int = 2) -> Mapping[Class, int]:
    return await Keeper(database, page=page, now=lambda: at).look()


async def ask_for_news(client: httpx.AsyncClient) -> httpx.Response:
    consent, key = {"purpose": "news", "state": "subscribed"}, {"Idempotency-Key": "news-ann"}
    return await client.put("/v1/customers/ann/consent", json=consent, headers=key)


async def only(database: Database, statement: Any) -> list[Any]:
    async with database.read() as session:
        return list((await session.scalars(statement)).all())


async def test_nothing_is_forgotten_until_the_shop_says_so(client: httpx.AsyncClient, database: Database) -> None:
    shop = Shop(database, now=datetime.now(UTC))
    await shop.track("Product Viewed", context=CONTEXT)

    assert await forget(database, later(days=5_000)) == {}
    assert await only(database, select(Event.context)) == [CONTEXT]
    assert (await client.get("/v1/settings")).json()["retention"]["event_context_days"] is None


async def test_periods_too_short_for_what_still_needs_it_are_refused_with_the_least(client: httpx.AsyncClient) -> None:
    refused = await save(client, mail_bodies_days=1)

    assert refused.status_code == 422
    (fault,) = refused.json()["errors"]
    assert "mail_bodies_days" in fault["pointer"]
    assert "30" in fault["detail"]


async def test_the_context_of_old_events_keeps_zone_and_language_only_in_any_number_of_pages(
    client: httpx.AsyncClient, database: Database
) -> None:
    shop = Shop(database, now=datetime.now(UTC))
    for number in range(5):
        await shop.track("Product Viewed", context=CONTEXT | {"page": {"path": f"/{number}"}})
    await save(client, event_context_days=90)

    early, in_time = await forget(database, later(days=89)), await forget(database, later(days=91))
    again = await forget(database, later(days=91))

    assert [each[Class.EVENT_CONTEXT] for each in (early, in_time, again)] == [0, 5, 0]
    assert await only(database, select(Event.context)) == [{"timezone": "Europe/Berlin", "locale": "de-DE"}] * 5
    await shop.track("Product Viewed", context=CONTEXT)
    assert (await forget(database, later(days=91)))[Class.EVENT_CONTEXT] == 1


async def test_bodies_of_old_messages_go_and_their_figures_stay(client: httpx.AsyncClient, database: Database) -> None:
    ann = await make_customer(database, "ann")
    kept = {"customer_id": ann, "channel": "email", "purpose": "marketing", "template": "t"}
    body = {"subject": "Hello Ann", "html": "<p>Ann</p>", "text": "Ann", "created_at": datetime.now(UTC)}
    async with database.transaction() as session:
        session.add_all(Message(id=new_id(), state=state, **kept, **body) for state in ("accepted", "claimed"))
    await save(client, mail_bodies_days=365)

    done = await forget(database, later(days=400))

    assert done == {Class.MAIL_BODIES: 1}
    shown = (await client.get("/v1/messages")).json()["data"]
    assert sorted((each["state"], each["subject"]) for each in shown) == [("accepted", None), ("claimed", "Hello Ann")]


async def test_a_message_that_still_waited_when_older_and_newer_ones_were_forgotten_is_forgotten_too(
    client: httpx.AsyncClient, database: Database
) -> None:
    ann = await make_customer(database, "ann")
    kept = {"customer_id": ann, "channel": "email", "purpose": "marketing", "template": "t", "subject": "Hello Ann"}
    async with database.transaction() as session:
        for state in ("accepted", "claimed", "accepted"):
            session.add(Message(id=new_id(), state=state, created_at=datetime.now(UTC), **kept))
    await save(client, mail_bodies_days=365)
    assert await forget(database, later(days=400)) == {Class.MAIL_BODIES: 2}
    async with database.transaction() as session:
        await session.execute(update(Message).where(Message.state == "claimed").values(state="cancelled"))

    at_once = await forget(database, later(days=400))
    days = [await forget(database, later(days=day, minutes=10 * look)) for day in (401, 402) for look in range(3)]

    assert at_once == {Class.MAIL_BODIES: 0}
    assert sum(each[Class.MAIL_BODIES] for each in days) == 1
    assert await only(database, select(Message.subject)) == [None] * 3


async def test_what_calls_saved_goes_once_their_runs_have_ended(client: httpx.AsyncClient, database: Database) -> None:
    ann = await make_customer(database, "ann")
    async with database.transaction() as session:
        at = datetime.now(UTC)
        await add_run(session, ann, occasion="1", saved={"score": {"iban": "DE02"}}, state="completed", ended_at=at)
        await add_run(session, ann, occasion="2", saved={"score": {"iban": "DE03"}})
    await save(client, webhook_answers_days=30)

    assert await forget(database, later(days=31)) == {Class.WEBHOOK_ANSWERS: 1}
    assert await only(database, select(Run.saved).order_by(Run.occasion)) == [{}, {"score": {"iban": "DE03"}}]


async def test_a_forgotten_answer_is_not_given_again_and_nothing_is_done_twice(
    client: httpx.AsyncClient, database: Database
) -> None:
    await make_customer(database, "ann")
    first = await ask_for_news(client)
    await save(client, idempotency_answers_days=30)

    assert (await forget(database, later(days=31)))[Class.IDEMPOTENCY_ANSWERS] == 1
    again = await ask_for_news(client)

    assert (first.status_code, again.status_code, again.json()["code"]) == (200, 409, "answer_forgotten")
    assert len(await only(database, select(Consent))) == 1


async def test_visitors_and_customers_who_have_not_been_seen_are_erased_and_nobody_else(
    client: httpx.AsyncClient, database: Database
) -> None:
    shop = Shop(database, now=datetime.now(UTC))
    await shop.track("Product Viewed", anonymous_id="visitor")
    await shop.track("Product Viewed", user_id="ann")
    await shop.track("Product Viewed", user_id="bob")
    async with database.transaction() as session:
        seen = update(Customer).where(Customer.external_id == "bob").values(last_seen=later(days=300))
        await session.execute(seen)
    await save(client, anonymous_visitors_days=90, inactive_customers_days=365)

    done = await forget(database, later(days=91))
    much_later = await forget(database, later(days=380))

    assert done == {Class.ANONYMOUS_VISITORS: 1, Class.INACTIVE_CUSTOMERS: 0}
    assert much_later == {Class.ANONYMOUS_VISITORS: 0, Class.INACTIVE_CUSTOMERS: 1}
    assert await only(database, select(Erasure.requested_by)) == ["retention", "retention"]
    assert [(await client.get(f"/v1/customers/{each}")).status_code for each in ("ann", "bob")] == [404, 200]


async def test_old_entries_of_the_audit_log_go(client: httpx.AsyncClient, database: Database) -> None:
    await save(client, audit_days=365)
    assert await only(database, select(AuditEntry.action))

    done = await forget(database, later(days=400))

    assert done[Class.AUDIT] >= 1
    assert await only(database, select(AuditEntry.action)) == []


async def test_the_doctor_says_what_is_over_its_time_and_not_forgotten_yet(
    client: httpx.AsyncClient, database: Database
) -> None:
    async def overdue(at: datetime) -> Sequence[str]:
        verdicts = await examine(database, at, email_per_second=50, provider="smtp")
        (found,) = (each for each in verdicts if each.guarantee == "overdue")
        assert found.is_kept
        return found.offenders

    await Shop(database, now=datetime.now(UTC)).track("Product Viewed", anonymous_id="v", context={"ip": "192.0.2.7"})
    every = {f"{each}_days": 400 for each in Class}
    await save(client, **every)
    soon, later_on = await overdue(later(days=300)), await overdue(later(days=401))
    await forget(database, later(days=401))

    assert soon == []
    assert [each.split(" from ")[0] for each in later_on] == ["event_context: 1", "anonymous_visitors: 1", "audit: 1"]
    assert await overdue(later(days=401)) == []


async def test_the_doctor_says_when_nobody_sees_to_what_is_over_its_time(
    client: httpx.AsyncClient, database: Database
) -> None:
    async def verdict(at: datetime) -> tuple[bool, Sequence[str]]:
        verdicts = await examine(database, at, email_per_second=50, provider="smtp")
        (found,) = (each for each in verdicts if each.guarantee == "retention")
        return found.is_kept, found.offenders

    unset = await verdict(later(hours=2))
    await save(client, event_context_days=90)
    at_once, neglected = await verdict(later(minutes=1)), await verdict(later(hours=2))
    await forget(database, later(hours=2))

    assert unset == at_once == (True, [])
    assert neglected == (False, ["event_context: not begun"])
    assert await verdict(later(hours=2)) == (True, [])
