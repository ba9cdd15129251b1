"""Requests recorded from seven real clients, browsers' preflights among them, sent again as they were."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from database.session import Database
from tests.api.conftest import ApiServer

REQUESTS: list[dict[str, Any]] = [  # as recorded
    json.loads(line) for line in (Path(__file__).parent.parent / "recorded/clients.jsonl").read_text().splitlines()
]
CLIENTS = sorted({request["client"] for request in REQUESTS})


async def replay(client: httpx.AsyncClient, recorded: dict[str, Any], key: str) -> httpx.Response:
    """Send one recorded request with our key in place of the recorded one."""
    headers = dict(recorded["headers"])
    if "Authorization" in headers:
        headers["Authorization"] = "Basic " + base64.b64encode(f"{key}:".encode()).decode()
    body = json.dumps(recorded["body"]).encode() if recorded["body"] else b""
    if headers.get("Content-Encoding") == "gzip":
        body = gzip.compress(body)
    return await client.request(recorded["method"], recorded["path"], content=body, headers=headers)


def messages(recorded: dict[str, Any]) -> list[dict[str, Any]]:
    body = recorded["body"] or {"batch": []}
    batch: list[dict[str, Any]] = body.get("batch", [body])
    return batch


@pytest.mark.parametrize("name", CLIENTS)
async def test_what_real_clients_sent_is_taken_whole(api_server: ApiServer, database: Database, name: str) -> None:
    requests = [request for request in REQUESTS if request["client"] == name]
    async with httpx.AsyncClient(base_url=api_server.url, timeout=30) as client:
        for recorded in requests:
            answer = await replay(client, recorded, api_server.browser_key)
            assert answer.status_code == (204 if recorded["method"] == "OPTIONS" else 200), answer.text
            if origin := dict(recorded["headers"]).get("Origin"):
                assert answer.headers["access-control-allow-origin"] == origin
            if wanted := dict(recorded["headers"]).get("Access-Control-Request-Headers"):
                assert set(wanted.split(",")) <= set(answer.headers["access-control-allow-headers"].split(","))

    async with database.read() as session:
        stored = {row.message_id: row for row in await session.execute(text("SELECT * FROM events"))}
    sent = {message["messageId"]: message for request in requests for message in messages(request)}
    assert stored.keys() == sent.keys()
    for message_id, message in sent.items():
        row = stored[message_id]
        assert row.kind == message["type"]
        assert row.name == message.get("event", row.name)
        assert row.properties.items() >= (message.get("properties") or {}).items()
        assert row.user_id == (message.get("userId") or None)
        if message["type"] == "identify":
            assert row.traits == (message.get("traits") or message["context"]["traits"])
