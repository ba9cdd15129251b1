"""G30 with unchanged SDKs: of the calls of one instant the last one wins, also after answers were lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from rudderstack.analytics.client import Client as Rudder
from segment.analytics.client import Client as Segment
from sqlalchemy import select

from api.app import create_app
from api.dependencies import ApiDependencies
from database.customers import Customer
from database.session import Database
from domain.keys import KeyKind, Scope
from tests.api.serving import serving
from tests.api.toy import make_key
from tests.clients.arrivals import until_arrived
from tests.clients.test_node_clients import run_script
from tests.clients.unreliable import LosesAnswers
from tests.triggers.shop import Shop

PEOPLE = 40
PLANS = ("basic", "silver", "gold")


def change_with_segment(key: str, host: str) -> None:
    client = Segment(key, host=host, upload_interval=0.05, upload_size=15)
    second = datetime.now(UTC).replace(microsecond=0)
    for person in range(PEOPLE):
        for plan in PLANS:
            client.identify(f"u-{person}", {"plan": plan}, timestamp=second)
    client.shutdown()


def change_with_rudder(key: str, host: str) -> None:
    client = Rudder(key, host=host, upload_interval=0.05, upload_size=15)
    second = datetime.now(UTC).replace(microsecond=0)
    for person in range(PEOPLE):
        for plan in PLANS:
            client.identify(f"u-{person}", {"plan": plan}, timestamp=second)
    client.flush()
    client.join()


async def plans_after_routing(database: Database) -> set[str]:
    """What everybody's plan is in the end."""
    await until_arrived(database, PEOPLE * len(PLANS))
    await Shop(database, now=datetime.now(UTC)).route(limit=50)
    async with database.read() as session:
        return {traits["plan"] for traits in (await session.execute(select(Customer.traits))).scalars()}


@pytest.mark.parametrize("change", [change_with_segment, change_with_rudder])
async def test_the_last_of_a_python_clients_calls_of_an_instant_wins(
    database: Database, change: Callable[[str, str], None]
) -> None:
    app = LosesAnswers(create_app(ApiDependencies(database=database)), count=2, status=500)
    key = await make_key(database, "server", KeyKind.SECRET, Scope.EVENTS_WRITE)

    async with serving(app) as url:
        await asyncio.to_thread(change, key, url)

    assert await plans_after_routing(database) == {"gold"}


async def test_the_last_of_a_node_clients_calls_of_an_instant_wins(database: Database, node: str) -> None:
    app = LosesAnswers(create_app(ApiDependencies(database=database)), count=2, status=500)
    key = await make_key(database, "server", KeyKind.SECRET, Scope.EVENTS_WRITE)

    async with serving(app) as url:
        await run_script(node, "ties_node.mjs", url, key)

        assert await plans_after_routing(database) == {"gold"}
