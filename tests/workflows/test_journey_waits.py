"""Runs that wait, on the time-skipping server: for clocks, dates, events and conditions."""

from __future__ import annotations

import asyncio
from datetime import UTC, timedelta

from database.customers import Customer
from tests.workflows.conftest import Stage
from tests.workflows.journeys import journey

PURCHASE = {"event": "Order Completed"}


async def test_a_wait_ends_at_the_customers_own_clock(stage: Stage) -> None:
    await stage.publish(journey({"wait": {"until": "09:00", "days": ["mon"], "zone": "customer"}, "id": "w"}))
    run = await stage.enter("welcome", await stage.customer(zone="Asia/Tokyo"))

    await run.ends()

    waited = await run.step("w")
    assert waited is not None
    assert waited.at is not None
    tokyo = waited.at.astimezone(UTC) + timedelta(hours=9)
    assert (tokyo.weekday(), tokyo.hour, tokyo.minute) == (0, 9, 0)


async def test_a_date_in_the_past_goes_on_at_once_and_a_missing_one_does_what_the_step_says(stage: Stage) -> None:
    await stage.publish(
        journey(
            {"wait": {"until_date": {"trait": "birthday"}}, "id": "past"},
            {"wait": {"until_date": {"trait": "renewal"}, "on_missing": "skip"}, "id": "skipped"},
            {
                "wait": {
                    "until_date": {"trait": "renewal"},
                    "on_missing": [{"update": {"traits": {"asked": True}}, "id": "ask"}],
                },
                "id": "asked",
            },
            {"wait": {"until_date": {"trait": "renewal"}}, "id": "ends"},
            {"send": {"template": "t"}, "id": "never"},
        )
    )
    run = await stage.enter("welcome", await stage.customer(birthday="1990-05-04"))
    while await run.step("ask") is None:
        await asyncio.sleep(0.02)
    assert await stage.route(run.customer_id, asked=True)  # the next wait looks at no date before

    ended = await run.ends()

    assert (ended.state, ended.reason) == ("exited", "date_missing")
    assert sorted(await run.log()) == [
        ("ask", 1, "done", None),
        ("asked", 1, "skipped", "date_missing"),
        ("ends", 1, "skipped", "date_missing"),
        ("past", 1, "done", None),
        ("skipped", 1, "skipped", "date_missing"),
    ]


async def test_a_condition_ends_a_wait_and_a_run_by_time_alone(stage: Stage) -> None:
    over = {"trait": "trial_ends", "within_last": "1y"}
    await stage.publish(
        journey(
            {"wait_for": {"any": [{"if": {"trait": "starts", "within_last": "1y"}}], "timeout": "30d"}, "id": "start"},
            {"wait": {"for": "30d"}, "id": "long"},
            exit=[{"if": over}],
        )
    )
    days = [(stage.now + timedelta(days=count)).isoformat() for count in (2, 5)]
    run = await stage.enter("welcome", await stage.customer(starts=days[0], trial_ends=days[1]))

    ended = await run.ends()

    assert (ended.state, ended.reason) == ("exited", "exit: condition")
    assert sorted(await run.log()) == [("long", 1, "cancelled", None), ("start", 1, "done", None)]
    started, ended_at = await run.step("start"), ended.ended_at
    assert started is not None
    assert started.at is not None
    assert timedelta(days=2) <= started.at - ended.entered_at <= timedelta(days=2, hours=2)
    assert ended_at is not None
    assert timedelta(days=5) <= ended_at - ended.entered_at <= timedelta(days=5, hours=2)


async def test_a_run_waits_as_long_as_the_event_that_entered_says(stage: Stage) -> None:
    await stage.publish(
        journey(
            {"wait": {"for": {"event": "properties.days", "unit": "d"}}, "id": "days"},
            {"wait": {"until_date": {"event": "properties.delivered_at", "offset": "1d"}, "zone": "UTC"}, "id": "date"},
            {"wait": {"for": {"event": "properties.hours", "unit": "h"}, "on_missing": "skip"}, "id": "skipped"},
            {"wait": {"until_date": {"event": "properties.returned_at"}}, "id": "ends"},
            {"send": {"template": "t"}, "id": "never"},
        )
    )
    delivered = (stage.now + timedelta(days=5)).replace(microsecond=0)
    properties = {"days": "3", "delivered_at": delivered.isoformat(), "hours": "some"}
    run = await stage.enter("welcome", entry={"event": "Order Delivered", "properties": properties})

    ended = await run.ends()

    assert (ended.state, ended.reason) == ("exited", "date_missing")
    days, date = await run.step("days"), await run.step("date")
    assert days is not None
    assert days.at is not None
    assert days.at - days.reached_at >= timedelta(days=3)
    assert date is not None
    assert date.at is not None
    assert date.at >= delivered + timedelta(days=1)
    assert sorted(await run.log()) == [
        ("date", 1, "done", None),
        ("days", 1, "done", None),
        ("ends", 1, "skipped", "date_missing"),
        ("skipped", 1, "skipped", "date_missing"),
    ]


async def test_a_wait_is_met_by_what_came_since_the_run_left_its_last_wait(stage: Stage) -> None:
    waits = {"wait_for": {"any": [{**PURCHASE, "steps": [{"exit": "bought"}]}], "timeout": "1d"}, "id": "order"}
    await stage.publish(journey(waits))
    customer = await stage.customer()
    await stage.event(customer, "Order Completed")
    run = await stage.enter("welcome", customer)

    ended = await run.ends()

    assert (ended.state, ended.reason) == ("exited", "bought")
    assert ended.seen_number == 2


async def test_the_event_that_entered_never_counts_again_in_its_own_run(stage: Stage) -> None:
    waits = {"wait_for": {"any": [PURCHASE], "timeout": "1d"}, "id": "order"}
    await stage.publish(journey(waits))
    customer = await stage.customer()
    await stage.event(customer, "Order Completed")
    run = await stage.enter("welcome", customer, seen_number=2)

    await run.ends()

    assert await run.log() == [("order", 1, "done", "timed_out")]


async def test_an_event_met_while_waiting_takes_its_own_steps_and_then_rejoins(stage: Stage) -> None:
    waits = {
        "wait_for": {
            "id": "order",
            "any": [{"event": "Order Returned"}, {**PURCHASE, "steps": [{"send": {"template": "t"}, "id": "thanks"}]}],
            "timeout": "30d",
            "on_timeout": [{"send": {"template": "t"}, "id": "late"}],
        }
    }
    await stage.publish(journey(waits, {"send": {"template": "t"}, "id": "after"}))
    run = await stage.enter("welcome")
    await run.stands_at("order")
    event = await stage.event(run.customer_id, "Order Completed")

    await run.met("order", 1, event)
    await run.ends()

    assert [step for step, _ in stage.outbox.sent] == ["thanks", "after"]


async def test_an_event_that_is_stored_in_time_beats_the_timeout_although_it_is_routed_late(stage: Stage) -> None:
    waits = {"wait_for": {"any": [PURCHASE], "timeout": "1h"}, "id": "order"}
    await stage.publish(journey(waits))
    run = await stage.enter("welcome")
    await run.stands_at("order")
    event = await stage.event(run.customer_id, "Order Completed")
    await stage.mark(event, "pending")
    assert stage.skip is not None
    await stage.skip(timedelta(hours=1, minutes=1))
    assert (await run.step("order")) is not None
    assert (await run.row()).state == "active"

    await stage.mark(event, "routed")
    await run.met("order", 0, event)
    await run.ends()

    assert await run.log() == [("order", 1, "done", None)]


async def test_a_timeout_takes_its_own_steps(stage: Stage) -> None:
    waits = {"wait_for": {"any": [PURCHASE], "timeout": "30d", "on_timeout": [{"exit": "gone"}]}, "id": "order"}
    await stage.publish(journey(waits, {"send": {"template": "t"}}))
    run = await stage.enter("welcome")

    assert (await run.ends()).reason == "gone"


async def test_signs_of_life_move_the_deadline_without_waking_the_workflow(stage: Stage) -> None:
    waits = {"wait_for": {"timeout": "1h", "restart_on": [{"event": "Product Added"}]}, "id": "quiet"}
    await stage.publish(journey(waits))
    run = await stage.enter("welcome")
    await run.stands_at("quiet")
    later = (await run.wait_row("quiet")).registered_at + timedelta(hours=5)
    async with stage.database.transaction() as session:
        row = await session.get(type(await run.wait_row("quiet")), (run.run_id, "quiet", 1))
        assert row is not None
        row.deadline = later

    await run.ends()

    logged = await run.step("quiet")
    assert logged is not None
    assert logged.at is not None
    assert logged.at >= later


async def test_a_new_zone_moves_the_end_of_a_wait(stage: Stage) -> None:
    await stage.publish(journey({"wait": {"for": "5d", "until": "09:00"}, "id": "w"}))
    customer = await stage.customer(zone="Europe/Berlin")
    run = await stage.enter("welcome", customer)
    await run.stands_at("w")
    before = (await run.wait_row("w")).deadline
    async with stage.database.transaction() as session:
        row = await session.get(Customer, customer)
        assert row is not None
        row.zone = "America/New_York"
    await run.handle.signal("wake")
    async with asyncio.timeout(60):
        while (await run.wait_row("w")).deadline == before:
            await asyncio.sleep(0.02)

    await run.ends()

    waited = await run.step("w")
    assert waited is not None
    assert waited.at is not None
    assert waited.at.astimezone(UTC).hour in (13, 14)
