"""What a request to erase does at once, and that neither replays nor imports bring the person back."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select

from database.erasures import Erasure, Traces
from database.events import Event, EventKey
from database.messages import Message
from database.outbox import Command
from database.suppressions import suppressions_of
from domain.events import EventKind
from domain.ids import new_id
from domain.imports import ImportFormat, ImportKind
from tests.triggers.shop import Shop, abandoned_cart
from triggers.erasures import request_erasure
from triggers.importing import import_rows


async def erase(shop: Shop, user_id: str = "u-1") -> Erasure:
    """Ask for the erasure of a customer, a minute after what came before."""
    shop.later(minutes=1)
    customer = await shop.customer(user_id)
    async with shop.database.transaction() as session:
        return await request_erasure(session, customer.id, by="key", as_of=shop.now)


async def stored(shop: Shop) -> tuple[int, int]:
    """How many events there are, and how many of their keys."""
    async with shop.database.read() as session:
        events = await session.scalar(select(func.count()).select_from(Event))
        keys = await session.scalar(select(func.count()).select_from(EventKey))
    return events or 0, keys or 0


async def test_the_job_knows_every_name_and_address_of_the_person(shop: Shop) -> None:
    await shop.identify({"email": "Old@example.com"}, anonymous_id="browser", user_id="u-1")
    shop.later(minutes=1)
    await shop.identify({"email": "new@example.com"})

    job = await erase(shop)

    traces = Traces.model_validate(job.traces)
    assert (traces.user_ids, traces.anonymous_ids) == (["u-1"], ["browser"])
    assert traces.addresses == ["new@example.com", "old@example.com"]
    assert traces.customers == [job.customer_id]


async def test_runs_end_their_commands_are_withdrawn_and_the_erasure_is_started(shop: Shop) -> None:
    await shop.publish(abandoned_cart())
    await shop.track("Product Added", {"cart_id": "c-1"})

    job = await erase(shop)

    (run,) = await shop.runs()
    assert (run.state, run.reason) == ("exited", "erased")
    async with shop.database.read() as session:
        commands = (await session.execute(select(Command))).scalars().all()
    assert [(each.kind, each.workflow_id) for each in commands] == [("start", f"erasure/{job.id}")]


async def test_addresses_are_suppressed_and_messages_that_wait_are_cancelled(shop: Shop) -> None:
    await shop.identify({"email": "ann@example.com"})
    message_id = await claimed_message(shop, (await shop.customer()).id)

    await erase(shop)

    async with shop.database.transaction() as session:
        found = await suppressions_of(session, "email", [" ANN@example.com"], shop.now)
        assert [row.reason for rows in found.values() for row in rows] == ["erased"]
        message = await session.get_one(Message, message_id)
    assert (message.state, message.reason) == ("cancelled", "erased")


async def claimed_message(shop: Shop, customer_id: UUID) -> UUID:
    message_id = new_id()
    async with shop.database.transaction() as session:
        session.add(
            Message(
                id=message_id,
                customer_id=customer_id,
                channel="email",
                purpose="transactional",
                template="receipt",
                state="claimed",
                created_at=shop.now,
            )
        )
    return message_id


async def test_asking_twice_is_one_job(shop: Shop) -> None:
    await shop.identify()
    customer = await shop.customer()

    jobs = []
    for _ in range(2):
        async with shop.database.transaction() as session:
            jobs.append((await request_erasure(session, customer.id, by="key", as_of=shop.now)).id)

    assert jobs[0] == jobs[1]


async def test_events_that_were_not_routed_yet_go_at_once(shop: Shop) -> None:
    await shop.identify(message_id="m-1")
    await shop.post(shop.event("Product Added"), shop.event("Product Viewed"))

    await erase(shop)

    assert (await shop.route()).routed == 0
    assert await stored(shop) == (1, 1)  # the routed one is left to the job


async def test_an_old_event_that_comes_again_or_late_does_not_bring_the_person_back(shop: Shop) -> None:
    await shop.identify(anonymous_id="browser", user_id="u-1")
    happened = shop.now
    await erase(shop)
    shop.later(minutes=5)

    await shop.post(
        shop.event("Product Added", timestamp=happened),
        shop.event("Page Viewed", timestamp=happened, anonymous_id="browser"),
    )
    await shop.route()

    assert await stored(shop) == (1, 1)
    async with shop.database.read() as session:
        assert await session.scalar(select(func.count()).where(Event.status == "pending")) == 0


async def test_an_import_does_not_bring_the_person_back_whatever_its_time(shop: Shop) -> None:
    await shop.identify()
    await erase(shop)
    shop.later(days=30)

    await shop.identify({"email": "ann@example.com"}, is_history=True, user_id="u-1")

    assert await stored(shop) == (1, 1)


async def test_an_import_reports_the_rows_of_erased_people(shop: Shop) -> None:
    await shop.identify()
    await erase(shop)
    lines = ['{"user_id": "u-2", "email": "bob@example.com"}', '{"user_id": "u-1", "email": "ann@example.com"}']

    report = await import_rows(
        shop.database, ImportKind.CUSTOMERS, lines, ImportFormat.JSON_LINES, as_of=shop.now + timedelta(days=1)
    )

    assert (report.rows, report.imported, report.refused) == (2, 1, 1)
    assert [(problem.row, problem.code) for problem in report.problems] == [(2, "erased")]


async def test_what_the_person_does_later_is_a_new_customers(shop: Shop) -> None:
    await shop.identify({"city": "Bonn"})
    before = await shop.customer()
    await erase(shop)
    shop.later(days=1)

    await shop.identify({"first_name": "Ann"})

    after = await shop.customer()
    assert after.id != before.id
    assert after.traits == {"first_name": "Ann"}


async def test_others_events_in_the_same_batch_are_routed(shop: Shop) -> None:
    await shop.identify()
    await erase(shop)

    await shop.post(
        shop.event("Product Added", timestamp=shop.now - timedelta(minutes=5)),
        shop.event("Product Added", user_id="u-2"),
    )
    done = await shop.route()

    assert done.routed == 1
    assert (await shop.customer("u-2")).external_id == "u-2"


async def test_customers_that_were_merged_into_the_person_are_erased_too(shop: Shop) -> None:
    await shop.identify({"email": "one@example.com"}, user_id="u-1")
    await shop.identify({"email": "two@example.com"}, user_id="u-2")
    await shop.track("Product Added", user_id="u-2")
    await shop.post(shop.event(kind=EventKind.ALIAS, user_id="u-1", previous_id="u-2"))
    await shop.route()

    job = await erase(shop)

    traces = Traces.model_validate(job.traces)
    assert (sorted(traces.user_ids), len(traces.customers)) == (["u-1", "u-2"], 2)
    assert traces.addresses == ["one@example.com", "two@example.com"]
