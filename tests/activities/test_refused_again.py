"""Whose trouble it is when messages are refused again and nobody else is left to get through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from uuid import UUID

import pytest
from temporalio.exceptions import ApplicationError

from activities.messages import MessageActivities
from activities.pacing import Pacer
from activities.providers import Providers
from connectors.rendering import Renderer
from database.provider_rates import ill_providers
from database.session import Database
from domain.journeys.library import DefinitionLibrary
from domain.provider_answers import Deferred
from domain.refusals import Fault
from domain.runs import StepInput
from tests.sending import PUBLIC_URL, Shop, enter, open_shop

RATES = {"scripted": 50.0}
DENIED = Deferred("smtp_554", 554, fault=Fault.PROVIDER, is_doubtful=True)


@pytest.fixture
async def shop(database: Database, renderer: Renderer) -> AsyncIterator[Shop]:
    """A shop whose provider can be ill."""
    async with open_shop(database, renderer, rates=RATES) as shop:
        yield shop


def another_worker(shop: Shop, renderer: Renderer) -> MessageActivities:
    """A process that has not seen yet how the provider is."""
    return MessageActivities(
        shop.database,
        DefinitionLibrary(lambda _journey, _version: None),
        renderer,
        Providers(shop.provider, shop.webhooks),
        Pacer(shop.database, RATES),
        public_url=PUBLIC_URL,
    )


async def refuse(shop: Shop, run_id: UUID, worker: MessageActivities | None = None) -> None:
    """The provider denies the message of a run, with words about everybody."""
    shop.provider.script = [DENIED]
    with pytest.raises(ApplicationError) as caught:
        await (worker or shop.activities).send(step_of(run_id))
    assert caught.value.type == "smtp_554"


def step_of(run_id: UUID) -> StepInput:
    return StepInput(run_id=run_id, step="reminder", visit=1, as_of=datetime.now(UTC))


async def get_through(shop: Shop, user_id: str) -> None:
    """Somebody's receipt leaves."""
    run_id = await enter(shop, user_id, journey="receipts")
    assert (await shop.activities.send(step_of(run_id))).kind == "done"


async def troubles(shop: Shop) -> Sequence[str | None]:
    """What ails providers."""
    async with shop.database.read() as session:
        return [each.trouble for each in await ill_providers(session)]


async def faults(shop: Shop, run_id: UUID) -> Sequence[str]:
    """Whose fault each refusal of a message was."""
    (message,) = [each for each in await shop.messages() if each.run_id == run_id]
    return [each["fault"] for each in message.attempts]


async def test_a_recipient_who_is_refused_again_and_again_makes_no_provider_ill_that_others_got_through(
    shop: Shop, renderer: Renderer
) -> None:
    ann = await enter(shop, "ann", journey="receipts")
    await refuse(shop, ann)
    assert await troubles(shop) == ["smtp_554"]  # it might be everybody's
    await get_through(shop, "bo")

    for worker in (shop.activities, shop.activities, another_worker(shop, renderer)):
        await refuse(shop, ann, worker)

        assert await troubles(shop) == []
    assert await faults(shop, ann) == ["provider", *["message"] * 3]


async def test_what_many_hear_one_after_the_other_is_everybodys_trouble_once_more(shop: Shop) -> None:
    refused = [await enter(shop, f"user-{n}", journey="receipts") for n in range(11)]
    for run_id in refused:
        await refuse(shop, run_id)
    await get_through(shop, "bo")
    for run_id in refused[:10]:
        await refuse(shop, run_id)
    assert await troubles(shop) == []

    await refuse(shop, refused[10])

    assert await troubles(shop) == ["smtp_554"]
