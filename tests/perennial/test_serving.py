"""What one connection may cost: heads are bounded in bytes, lines and time, and bodies in time (G28)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from structlog.testing import capture_logs

from api import body_time
from api.app import create_app
from api.dependencies import ApiDependencies
from database.session import Database
from perennial import http_protocol
from perennial.loopback import any_free_port
from perennial.serving import serving

HOST = "127.0.0.1"
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def echo(request: Request) -> Response:
    return PlainTextResponse(f"{len(await request.body())}")


@pytest.fixture
async def port() -> AsyncIterator[int]:
    port = any_free_port()
    async with serving(Starlette(routes=[Route("/", echo, methods=["GET", "POST"])]), HOST, port):
        await until_open(port)
        yield port


async def until_open(port: int) -> None:
    """Wait until somebody listens there."""
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection(HOST, port)
            except ConnectionError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


async def answer_to(port: int, *pieces: bytes) -> bytes:
    """All that comes back until the server ends the connection."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        async with asyncio.timeout(60):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


START = b"GET / HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    "head",
    [
        START + b"".join(b"A%d: b\r\n" % n for n in range(101)) + b"\r\n",
        START + b"A: " + b"b" * 40_000 + b"\r\n\r\n",
        START + b"A: " + b"b" * 40_000,
        b"GET /" + b"x" * 40_000,
        b"POST / HTTP/1.1\r\nHost: x\r\n"
        + b"".join(b"A%d: b\r\n" % n for n in range(200))
        + b"Content-Length: 1\r\n\r\nx",
    ],
    ids=["too many lines", "a long line", "a line without end", "an address without end", "lines before a body"],
)
async def test_a_head_that_is_too_large_is_refused(port: int, head: bytes) -> None:
    answer = await answer_to(port, head)

    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"request_header_fields_too_large" in answer
    assert answer.count(b"HTTP/1.1") == 1


async def test_a_flood_of_header_lines_is_ended_early(port: int) -> None:
    _, writer = await asyncio.open_connection(HOST, port)
    writer.write(START)
    sent, line = 0, b"A: " + b"b" * 1_000 + b"\r\n"
    try:
        while sent < 150_000_000:
            writer.write(line * 100)
            await writer.drain()
            sent += len(line) * 100
    except ConnectionError:
        pass
    finally:
        writer.close()

    assert sent < 10_000_000
    async with httpx.AsyncClient(timeout=60) as client:
        assert (await client.get(f"http://{HOST}:{port}/")).text == "0"


@pytest.mark.parametrize("trailer", [b"A: b\r\n" * 10_000, b"A: " + b"b" * 2_000_000], ids=["many", "one without end"])
async def test_trailers_are_bounded_too(port: int, trailer: bytes) -> None:
    chunked = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"
    assert b"HTTP/1.1 200" not in await answer_to(port, chunked, trailer)


async def test_who_sends_a_head_slowly_or_nothing_at_all_is_let_go(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.3)
    answers = await asyncio.gather(answer_to(port, START), answer_to(port), answer_to(port, b"\r\n"))

    assert answers[0].startswith(b"HTTP/1.1 431 ")
    assert answers[1] == b""


async def test_large_bodies_and_connections_that_are_used_again_are_served(port: int) -> None:
    async with httpx.AsyncClient(base_url=f"http://{HOST}:{port}", timeout=60) as client:
        for size in (0, 10, 3_000_000, 7):
            assert (await client.post("/", content=b"x" * size)).text == str(size)
        chunks = [b"y" * 1_000] * 500

        async def pieces() -> AsyncIterator[bytes]:
            for chunk in chunks:
                yield chunk

        assert (await client.post("/", content=pieces())).text == "500000"
    two = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab" + START + b"Connection: close\r\n\r\n"
    assert (await answer_to(port, two)).count(b"HTTP/1.1 200") == 2


async def test_a_body_that_does_not_come_is_408_and_holds_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_time, "FIRST_SECONDS", 0.3)
    monkeypatch.setattr(body_time, "WHOLE_SECONDS", 0.6)
    port = any_free_port()
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
    async with serving(create_app(ApiDependencies(database=database)), HOST, port):
        await until_open(port)
        answers = await asyncio.gather(
            *(answer_to(port, head % path) for path in (b"/v1/track", b"/u/unknown-link", b"/v1/hooks/meta")),
            answer_to(port, head % b"/u/unknown-link", b"List-Unsub"),
        )

    assert [answer.split(b" ")[1] for answer in answers] == [b"408"] * 4
    assert all(b"connection: close" in answer.lower() for answer in answers)


async def test_who_leaves_in_the_middle_of_a_body_is_no_defect_of_ours(database: Database) -> None:
    port = any_free_port()
    with capture_logs() as logged:
        async with serving(create_app(ApiDependencies(database=database)), HOST, port):
            await until_open(port)
            _, writer = await asyncio.open_connection(HOST, port)
            writer.write(b"POST /v1/hooks/meta HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
            await writer.drain()
            writer.close()
            async with asyncio.timeout(60):
                while not logged:
                    await asyncio.sleep(0.02)

    assert [(entry["event"], entry["log_level"]) for entry in logged] == [("client_left", "info")]
