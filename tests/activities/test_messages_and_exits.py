"""The step `send` beside exits, and events of its customer that are not routed yet."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import update
from temporalio.exceptions import ApplicationError

from connectors.rendering import Renderer
from database.events import append
from database.runs import Run
from database.session import Database
from domain.events import EventKind, NewEvent
from domain.provider_answers import Deferred
from domain.runs import OutcomeKind
from tests.sending import (
    NOON,
    Shop,
    add_event,
    enter,
    open_shop,
)


async def test_an_exited_run_sends_nothing(shop: Shop) -> None:
    run_id = await enter(shop)
    async with shop.database.transaction() as session:
        await session.execute(update(Run).values(state="exited", reason="Order Completed"))

    outcome = await shop.send(run_id)

    assert (outcome.kind, outcome.reason) == (OutcomeKind.EXITED, "Order Completed")
    assert not await shop.messages()


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
