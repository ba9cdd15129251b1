"""While a person's processing is restricted no message leaves, an owed one neither; afterwards it does."""

from __future__ import annotations

import pytest
from sqlalchemy import select
from temporalio.exceptions import ApplicationError

from database.customers import Customer, lock
from database.outbox import Command
from database.runs import Run
from domain.provider_answers import Deferred
from domain.runs import OutcomeKind
from tests.sending import NOON, Shop, add_customer, add_run, consent_record, enter, publish, welcome_journey
from triggers.restrictions import lift, restrict


async def change(shop: Shop, *, restricted: bool) -> None:
    """As the api does, under the customer's lock."""
    async with shop.database.transaction() as session:
        (customer,) = await session.scalars(select(Customer.id))
        await lock(session, [customer], skip_locked=False)
        if restricted:
            await restrict(session, customer, reason="disputes her address", by="key", as_of=NOON)
        else:
            assert await lift(session, customer, by="key", as_of=NOON)


async def test_a_restricted_customers_owed_message_waits_and_leaves_when_the_restriction_is_lifted(shop: Shop) -> None:
    async with shop.database.transaction() as session:
        await publish(session, "journey", "receipt", welcome_journey("receipt", purpose="transactional"))
    run_id = await enter(shop, journey="receipt")
    await change(shop, restricted=True)

    held = await shop.send(run_id)

    assert (held.kind, held.reason) == (OutcomeKind.HELD, "restricted")
    assert shop.provider.calls == []
    await change(shop, restricted=False)
    async with shop.database.read() as session:
        run = await session.get_one(Run, run_id)
        woken = list(await session.scalars(select(Command.workflow_id).where(Command.kind == "wake")))
    assert (run.held, woken) == (False, [run.workflow_id])
    assert (await shop.send(run_id)).kind is OutcomeKind.DONE
    assert len(shop.provider.taken) == 1


async def test_a_message_that_was_claimed_before_the_restriction_does_not_leave_either(shop: Shop) -> None:
    run_id = await enter(shop)
    shop.provider.script = [Deferred("busy")]
    with pytest.raises(ApplicationError):
        await shop.send(run_id)
    assert (await shop.message()).state == "claimed"
    await change(shop, restricted=True)

    held = await shop.send(run_id)

    message = await shop.message()
    assert (held.kind, message.state, message.reason) == (OutcomeKind.HELD, "planned", "restricted")
    assert shop.provider.taken == []
    await change(shop, restricted=False)
    assert (await shop.send(run_id)).kind is OutcomeKind.DONE


async def test_a_restriction_stops_the_one_customer_and_nobody_else(shop: Shop) -> None:
    await enter(shop)
    await change(shop, restricted=True)
    async with shop.database.transaction() as session:
        bob = await add_customer(session, "bob", email="bob@example.com")
        session.add(consent_record(bob, "subscribed"))
        run_id = await add_run(session, bob)

    assert (await shop.send(run_id)).kind is OutcomeKind.DONE
