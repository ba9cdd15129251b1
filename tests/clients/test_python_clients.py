"""Segment's and RudderStack's Python clients, unchanged but for the host."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from rudderstack.analytics.client import Client as Rudder
from segment.analytics.client import Client as Segment

from api.app import create_app
from api.dependencies import ApiDependencies
from database.session import Database
from domain.keys import KeyKind, Scope
from tests.api.conftest import ApiServer
from tests.api.serving import serving
from tests.api.toy import make_key
from tests.clients.arrivals import arrivals, assert_the_shop_visit, until_arrived
from tests.clients.unreliable import LosesAnswers


def visit_with_segment(key: str, host: str, gzip: bool) -> list[object]:
    failures: list[object] = []
    client = Segment(key, host=host, gzip=gzip, on_error=lambda error, _: failures.append(error), upload_interval=0.05)
    client.identify("ann", {"email": "ann@example.com"})
    client.track("ann", "Order Completed", {"order_id": "o-1", "total": 42.5, "currency": "EUR"})
    client.page("ann", "Guides", "Docs")
    client.screen("ann", "App", "Home")
    client.group("ann", "acme", {"name": "Acme"})
    client.alias("anon-1", "ann")
    client.shutdown()
    return failures


def visit_with_rudder(key: str, host: str, gzip: bool) -> list[object]:
    failures: list[object] = []
    client = Rudder(key, host=host, gzip=gzip, on_error=lambda error, _: failures.append(error), upload_interval=0.05)
    client.identify("ann", {"email": "ann@example.com"})
    client.track("ann", "Order Completed", {"order_id": "o-1", "total": 42.5, "currency": "EUR"})
    client.page("ann", "Guides", "Docs")
    client.screen("ann", "App", "Home")
    client.group("ann", "acme", {"name": "Acme"})
    client.alias("anon-1", "ann")
    client.flush()
    client.join()
    return failures


@pytest.mark.parametrize("gzip", [False, True])
@pytest.mark.parametrize("visit", [visit_with_segment, visit_with_rudder])
async def test_everything_a_python_client_sends_arrives(
    api_server: ApiServer, database: Database, visit: Callable[[str, str, bool], list[object]], gzip: bool
) -> None:
    failures = await asyncio.to_thread(visit, api_server.write_key, api_server.url, gzip)

    assert failures == []
    assert_the_shop_visit(await until_arrived(database, 6))


@pytest.mark.parametrize("status", [500, 429])
@pytest.mark.parametrize("visit", [visit_with_segment, visit_with_rudder])
async def test_a_batch_whose_answer_was_lost_is_sent_again_and_stored_once(
    database: Database, visit: Callable[[str, str, bool], list[object]], status: int
) -> None:
    app = LosesAnswers(create_app(ApiDependencies(database=database)), count=1, status=status)
    key = await make_key(database, "server", KeyKind.SECRET, Scope.EVENTS_WRITE)

    async with serving(app) as url:
        failures = await asyncio.to_thread(visit, key, url, True)

    assert failures == []
    assert app.posts >= 2
    assert_the_shop_visit(await arrivals(database))


@pytest.mark.parametrize("visit", [visit_with_segment, visit_with_rudder])
async def test_a_refused_batch_is_not_sent_again(
    database: Database, visit: Callable[[str, str, bool], list[object]]
) -> None:
    """RudderStack's client tries a refusal without `code` and `message` again, ten times."""
    app = LosesAnswers(create_app(ApiDependencies(database=database)), count=0, status=500)

    async with serving(app) as url:
        failures = await asyncio.to_thread(visit, "pk_unknown", url, False)

    assert (app.posts, len(failures)) == (1, 1)
