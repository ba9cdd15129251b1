"""The step `send` beside exits, and events of its customer that are not routed yet."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from temporalio.exceptions import ApplicationError

from connectors.rendering import Renderer
from database.events import append
from database.outbox import Command
from database.runs import Run
from database.session import Database
from domain.events import EventKind, NewEvent
from domain.provider_answers import Deferred
from domain.runs import OutcomeKind
from tests.sending import (
    NOON,
    Shop,
    add_event,
    add_run,
    enter,
    open_shop,
    publish,
    welcome_journey,
)


async def test_an_exited_run_sends_nothing(shop: Shop) -> None:
    run_id = await enter(shop)
    async with shop.database.transaction() as session:
        await session.execute(update(Run).values(state="exited", reason="Order Completed"))

    outcome = await shop.send(run_id)

    assert (outcome.kind, outcome.reason) == (OutcomeKind.EXITED, "Order Completed")
    assert not await shop.messages()


async def test_a_message_that_was_sent_wakes_the_other_runs_whose_exits_or_waits_look_at_it(shop: Shop) -> None:
    sent, opened = ({"if": {"not": {"message": kind, "template": "hello"}}} for kind in ("sent", "opened"))
    looking: dict[str, dict[str, Any]] = {
        "exits": {"exit": [sent]},
        "waits": {"steps": [{"branch": [{"else": [{"wait_for": {"any": [sent]}, "id": "w"}]}]}]},
        "looks-at-what-reports-tell": {"exit": [opened]},
    }
    run_id = await enter(shop)
    async with shop.database.transaction() as session:
        run = await session.get_one(Run, run_id)
        for journey, changes in looking.items():
            await publish(session, "journey", journey, welcome_journey(journey=journey) | changes)
            await add_run(session, run.customer_id, journey=journey, workflow_id=journey)

    await shop.send(run_id)

    async with shop.database.read() as session:
        woken = await session.scalars(select(Command.workflow_id).where(Command.kind == "wake"))
        assert sorted(woken) == ["exits", "waits"]


async def test_a_message_waits_while_events_of_its_customer_are_not_routed(
    database: Database, renderer: Renderer
) -> None:
    async with open_shop(database, renderer, patience=timedelta(milliseconds=100)) as shop:
        run_id = await enter(shop)
        async with shop.database.transaction() as session:
            await add_event(session, "ann", "Order Completed")

        with pytest.raises(ApplicationError) as caught:
            await shop.send(run_id)

        assert caught.value.type == "events_pending"
        assert not await shop.messages()


async def test_an_exit_between_claim_and_attempt_cancels_the_message(shop: Shop) -> None:
    run_id = await enter(shop)
    shop.provider.script = [Deferred("http_503", 503)]
    with pytest.raises(ApplicationError):
        await shop.send(run_id)  # claimed, and back in line
    async with shop.database.transaction() as session:
        await session.execute(update(Run).values(state="exited", reason="Order Completed"))

    outcome = await shop.send(run_id)

    assert outcome.kind is OutcomeKind.EXITED
    message = await shop.message()
    assert (message.state, message.reason) == ("cancelled", "run_ended")


@pytest.mark.parametrize(("hours", "holds"), [(-1, False), (1, True)])
async def test_imported_events_of_before_the_run_hold_no_message_and_later_ones_do(
    database: Database, renderer: Renderer, hours: int, holds: bool
) -> None:
    async with open_shop(database, renderer, patience=timedelta(milliseconds=100)) as shop:
        run_id = await enter(shop)
        at = NOON + timedelta(hours=hours)
        past = NewEvent("import", "m", EventKind.TRACK, "Order Completed", at, at, user_id="ann", is_history=True)
        async with database.transaction() as session:
            await append(session, [past])

        if holds:
            with pytest.raises(ApplicationError):
                await shop.send(run_id)
        else:
            await shop.send(run_id)

        assert len(shop.provider.taken) == (0 if holds else 1)
