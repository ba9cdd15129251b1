"""Events per second through the real HTTP API, against a raw multi-row insert of the same rows.

The floor is what PostgreSQL itself takes: both rows of each event (its key and itself) as finished arrays, into copies
of the tables with the same indexes, in batches of the same size on as many connections, each batch committed.
No HTTP, no JSON to read, nothing looked up.
"""

from __future__ import annotations

import asyncio
import base64
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any  # events are any JSON
from urllib.parse import urlsplit

import asyncpg
import orjson

from benchmarks.figure import Figure
from benchmarks.world import World
from domain.ids import new_id

CONNECTIONS = 8
BATCHES = {1: 3_000, 20: 400, 100: 150}  # batch size -> batches sent
AIM_AT_100 = 0.5
_COLUMNS = (
    *("id", "source", "message_id", "kind", "name", "subject", "user_id", "timestamp", "received_at"),
    *("properties", "traits", "context", "trusted"),
)
_INSERT_KEYS = "INSERT INTO raw_keys SELECT * FROM unnest($1::text[], $2::text[], $3::uuid[], $4::bytea[])"
_INSERT = f"""
    INSERT INTO raw_events ({", ".join(_COLUMNS)})
    SELECT * FROM unnest(
        $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::timestamptz[],
        $9::timestamptz[], $10::jsonb[], $11::jsonb[], $12::jsonb[], $13::boolean[]
    )
"""


async def measure(world: World) -> Sequence[Figure]:
    """One row for each batch size."""
    figures = []
    async with world.deployment("api") as deployment:
        for size, count in BATCHES.items():
            ours = await _through_api(deployment.api, deployment.keys.write_key, size, count)
            floor = await _raw(deployment.url, size, count)
            figures.append(
                Figure(
                    f"ingest over HTTP, batches of {size}",
                    ours,
                    "events/s",
                    floor=floor,
                    floor_is="raw multi-row insert",
                    aim=AIM_AT_100 if size == 100 else None,
                )
            )
    return figures


async def _through_api(url: str, key: str, size: int, count: int) -> float:
    """Events per second of `count` batches; the bodies are made beforehand."""
    requests = [_request(url, key, [_message() for _ in range(size)]) for _ in range(count)]
    connections = [await Connection.open(url) for _ in range(CONNECTIONS)]
    for connection in connections:
        await connection.send(_request(url, key, [_message()]))
    seconds = await _timed(requests, [connection.send for connection in connections])
    for connection in connections:
        connection.close()
    return size * count / seconds


async def _raw(url: str, size: int, count: int) -> float:
    """Rows per second of the same batches as finished arrays."""
    batches = [_arrays([_message() for _ in range(size)]) for _ in range(count)]
    connections = [await asyncpg.connect(url) for _ in range(CONNECTIONS)]
    for copy, original in (("raw_events", "events"), ("raw_keys", "event_keys")):
        await connections[0].execute(f"DROP TABLE IF EXISTS {copy}")
        await connections[0].execute(f"CREATE TABLE {copy} (LIKE {original} INCLUDING ALL)")

    def insert(connection: asyncpg.Connection) -> Callable[[list[list[Any]]], Awaitable[None]]:
        async def both(arrays: list[list[Any]]) -> None:
            async with connection.transaction():
                await connection.execute(_INSERT_KEYS, arrays[1], arrays[2], arrays[0], [bytes(16)] * len(arrays[0]))
                await connection.execute(_INSERT, *arrays)

        return both

    seconds = await _timed(batches, [insert(connection) for connection in connections])
    for connection in connections:
        await connection.close()
    return size * count / seconds


async def _timed(work: Sequence[Any], takers: Sequence[Callable[[Any], Awaitable[Any]]]) -> float:
    """Seconds until the takers, side by side, have done all the work."""
    remaining = iter(work)

    async def take(do: Callable[[Any], Awaitable[Any]]) -> None:
        for piece in remaining:
            await do(piece)

    started = time.perf_counter()
    async with asyncio.TaskGroup() as taking:
        for do in takers:
            taking.create_task(take(do))
    return time.perf_counter() - started


class Connection:
    """One kept-alive HTTP/1.1 connection, so thin that the client costs little of the machine it shares."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, url: str) -> Connection:
        """Connect to the host of the URL."""
        parts = urlsplit(url)
        return cls(*await asyncio.open_connection(parts.hostname, parts.port))

    async def send(self, request: bytes) -> None:
        """One request; raises RuntimeError for any answer but 200."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        fields = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:-2])
        body = await self._reader.readexactly(int(fields[b"content-length"]))
        if not head.startswith(b"HTTP/1.1 200 ") or b'"rejected":[{' in body:
            raise RuntimeError(f"the API answered {head[:20]!r} {body[:500]!r}")

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


def _request(url: str, key: str, messages: list[dict[str, Any]]) -> bytes:
    body = orjson.dumps({"batch": messages, "sentAt": messages[-1]["timestamp"]})
    basic = base64.b64encode(f"{key}:".encode()).decode()
    head = (
        f"POST /v1/batch HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nAuthorization: Basic {basic}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _message() -> dict[str, Any]:
    """What segment-analytics-python sends for a product that goes into a cart."""
    return {
        "type": "track",
        "event": "Product Added",
        "messageId": str(uuid.uuid4()),
        "userId": f"customer-{uuid.uuid4().int % 5_000}",
        "anonymousId": None,
        "timestamp": datetime.now(UTC).isoformat(),
        "integrations": {},
        "context": {"library": {"name": "analytics-python", "version": "2.4.0"}},
        "properties": {
            "cart_id": uuid.uuid4().hex,
            "product_id": "rose-gertrude-jekyll",
            "name": "Rose 'Gertrude Jekyll', bare root",
            "price": 24.5,
            "quantity": 2,
            "currency": "EUR",
        },
    }


def _arrays(messages: list[dict[str, Any]]) -> list[list[Any]]:
    """One array a column, in the order of _COLUMNS."""
    now = datetime.now(UTC)
    rows = [
        (
            *(new_id(), "raw", message["messageId"], "track", message["event"], f"u:{message['userId']}"),
            *(message["userId"], now, now, orjson.dumps(message["properties"]).decode(), "{}"),
            *(orjson.dumps(message["context"]).decode(), True),
        )
        for message in messages
    ]
    return [list(column) for column in zip(*rows, strict=True)]
