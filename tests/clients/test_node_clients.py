"""Segment's and RudderStack's Node.js clients, unchanged but for the host."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from api.app import create_app
from api.dependencies import ApiDependencies
from database.session import Database
from domain.keys import KeyKind, Scope
from tests.api.conftest import ApiServer
from tests.api.serving import serving
from tests.api.toy import make_key
from tests.clients.arrivals import assert_the_shop_visit, until_arrived
from tests.clients.unreliable import LosesAnswers

SCRIPTS = ("segment_node.mjs", "rudder_node.mjs")


async def run_script(node: str, script: str, host: str, key: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(node, str(Path(__file__).parent / script), host, key),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(120):
        said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()


@pytest.mark.parametrize("script", SCRIPTS)
async def test_everything_a_node_client_sends_arrives(
    api_server: ApiServer, database: Database, node: str, script: str
) -> None:
    await run_script(node, script, api_server.url, api_server.write_key)

    assert_the_shop_visit(await until_arrived(database, 6))


@pytest.mark.parametrize("script", SCRIPTS)
async def test_a_batch_whose_answer_was_lost_is_sent_again_and_stored_once(
    database: Database, node: str, script: str
) -> None:
    app = LosesAnswers(create_app(ApiDependencies(database=database)), count=1, status=500)
    key = await make_key(database, "server", KeyKind.SECRET, Scope.EVENTS_WRITE)

    async with serving(app) as url:
        await run_script(node, script, url, key)
        events = await until_arrived(database, 6)

    assert app.posts >= 2
    assert_the_shop_visit(events)
