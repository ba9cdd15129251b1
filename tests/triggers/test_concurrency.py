"""G6 and the races of routers: one run for each occasion, nobody routed twice, locks respected."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import func, select, text

from database import customers
from database.events import Event, append
from database.orders import Order
from database.outbox import Command
from database.runs import Run, Wait
from domain.events import EventKind
from tests.triggers.shop import Shop, abandoned_cart
from triggers.live import LiveCache
from triggers.routing import Routing


async def drain(shop: Shop) -> None:
    """One router of its own, as another process would run it, until nothing is pending."""
    routing = Routing(LiveCache())
    while True:
        async with shop.database.transaction() as session:
            done = await routing.route(session, shop.now, 40)
        if not done.seen:
            return
        await asyncio.sleep(0)


async def test_fifty_parallel_posts_and_three_routers_begin_one_run(shop: Shop) -> None:
    await shop.publish(abandoned_cart())
    events = [shop.event("Product Added", properties={"cart_id": "c-1"}) for _ in range(50)]
    await asyncio.gather(*(shop.post(event) for event in events), *(drain(shop) for _ in range(3)))
    await drain(shop)
    [run] = await shop.runs()
    async with shop.database.read() as session:
        commands = (await session.execute(select(Command.workflow_id))).scalars().all()
    assert commands == [run.workflow_id]


async def test_three_routers_route_each_event_once_in_the_order_of_its_customer(shop: Shop) -> None:
    people, each = 40, 15
    await shop.post(
        *(
            shop.event("Page Viewed", user_id=f"u-{person}", properties={"n": n})
            for n in range(each)
            for person in range(people)
        )
    )
    await asyncio.gather(*(drain(shop) for _ in range(3)))
    for person in (0, people - 1):
        events = await shop.events_of((await shop.customer(f"u-{person}")).id)
        assert [(event.number, event.properties["n"]) for event in events] == [(n + 1, n) for n in range(each)]
    assert await shop.customer_count() == people


async def test_the_same_new_ids_in_many_routers_make_one_customer(shop: Shop) -> None:
    for round_ in range(5):
        links = [(f"u-{round_}", f"a-{round_}-{browser}") for browser in range(3)]
        await asyncio.gather(
            *(
                shop.post(shop.event(kind=EventKind.IDENTIFY, user_id=user, anonymous_id=browser))
                for user, browser in links * 3
            ),
            *(shop.post(shop.event("Page Viewed", anonymous_id=browser)) for _, browser in links),
            *(drain(shop) for _ in range(3)),
        )
    await drain(shop)
    assert await shop.customer_count() == 5


async def test_a_customer_whom_somebody_holds_is_left_and_others_go_on(shop: Shop) -> None:
    await shop.track("Page Viewed", user_id="ann")
    held = await shop.customer("ann")
    await shop.post(shop.event("Page Viewed", user_id="ann"), shop.event("Page Viewed", user_id="bob"))
    async with shop.database.transaction() as claim:
        await customers.lock(claim, [held.id])
        await shop.route()
        assert (await shop.customer("bob")).last_number == 1
        assert (await shop.customer("ann")).last_number == 1
    await shop.route()
    assert (await shop.customer("ann")).last_number == 2


async def test_a_router_that_dies_in_its_transaction_leaves_everything_to_the_next(shop: Shop) -> None:
    await shop.publish(abandoned_cart())
    await shop.post(shop.event("Product Added", properties={"cart_id": "c-1"}))
    async with shop.database.engine.connect() as dying:
        pid = await dying.scalar(text("SELECT pg_backend_pid()"))
        await dying.execute(text("SELECT 1 FROM events FOR UPDATE"))
        async with shop.database.transaction() as session:
            await session.execute(text("SET LOCAL ROLE NONE"))  # the application itself may not
            await session.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        await dying.invalidate()
    await shop.route()
    assert len(await shop.runs()) == 1


async def test_the_waits_row_decides_between_event_and_timer(shop: Shop) -> None:
    """Both sides at once, many times: exactly one of them settles the wait, and both read the same answer."""
    steps = [{"wait_for": {"id": "quiet", "timeout": "1h", "any": [{"event": "Reply"}]}}]
    await shop.publish(abandoned_cart(exit=[], steps=steps))
    for number in range(20):
        user = f"u-{number}"
        await shop.track("Product Added", {"cart_id": "c"}, user_id=user)
        run = (await shop.runs())[-1]
        await _stand(shop, run)
        await shop.post(shop.event("Reply", user_id=user))
        timed_out, _ = await asyncio.gather(_time_out(shop, run), shop.route())
        await shop.route()
        async with shop.database.read() as session:
            wait = (await session.execute(select(Wait).where(Wait.run_id == run.id))).scalar_one()
        assert wait.status == ("timed_out" if timed_out else "met")


async def _stand(shop: Shop, run: Run) -> None:
    async with shop.database.transaction() as session:
        session.add(
            Wait(
                run_id=run.id,
                step="quiet",
                visit=1,
                customer_id=run.customer_id,
                version=1,
                status="waiting",
                registered_at=shop.now,
                deadline=shop.now - timedelta(seconds=1),
            )
        )


async def _time_out(shop: Shop, run: Run) -> bool:
    """What the timer's side does: lock the customer, settle the row if it is still waiting."""
    async with shop.database.transaction() as session:
        await customers.lock(session, [run.customer_id], skip_locked=False)
        settled = await session.execute(
            text("UPDATE waits SET status = 'timed_out' WHERE run_id = :run AND status = 'waiting' RETURNING 1"),
            {"run": run.id},
        )
        return settled.first() is not None


@pytest.mark.parametrize("refund_first", [True, False])
async def test_a_refund_beside_the_first_word_of_its_order_counts_whoever_commits_first(
    shop: Shop, refund_first: bool
) -> None:
    await shop.post(*(shop.event("Page Viewed", user_id=user) for user in ("ann", "bob")))
    await shop.route()
    order = shop.event("Order Completed", user_id="ann", properties={"order_id": "o-1", "total": 20})
    refund = shop.event("Order Refunded", user_id="bob", properties={"order_id": "o-1", "total": 5})
    first, second = (refund, order) if refund_first else (order, refund)
    async with shop.database.transaction() as slow:
        await shop.post(first)
        assert (await Routing(LiveCache()).route(slow, shop.now, 40)).routed == 1
        await shop.post(second)
        beside = asyncio.create_task(shop.route())
        await asyncio.wait({beside}, timeout=0.5)  # it is done, or waits for its turn
    await beside
    async with shop.database.read() as session:
        stored = (await session.execute(select(Order))).scalar_one()
    assert (stored.total, stored.refunded, stored.state) == (2000, 500, "partially_refunded")


async def test_an_event_that_commits_late_with_an_early_id_is_routed_all_the_same(shop: Shop) -> None:
    early = shop.event("Page Viewed", user_id="early")
    async with shop.database.transaction() as slow:
        await append(slow, [early])
        await shop.post(shop.event("Page Viewed", user_id="late"))
        await shop.route()
    await shop.route()
    async with shop.database.read() as session:
        pending = await session.scalar(select(func.count()).select_from(Event).where(Event.status == "pending"))
    assert pending == 0
