"""The step `call`: tried until taken, refused or too late, under one webhook id; its answer serves later steps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from tests.workflows.conftest import Stage
from tests.workflows.journeys import journey


@dataclass
class Shop:
    """A shop's endpoint; answers from a list (status, JSON, perhaps Retry-After), the last one for ever."""

    url: str = ""
    answers: list[tuple[Any, ...]] = field(default_factory=lambda: [(200, {})])
    requests: list[tuple[dict[str, str], Any]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        self.requests.append((headers | {"path": head[0].split()[1]}, body))
        status, answer, *wishes = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        wish = "".join(f"Retry-After: {after}\r\n" for after in wishes)
        writer.write(f"HTTP/1.1 {status} X\r\n{wish}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        await writer.drain()
        writer.close()


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    """A shop on the loopback address."""
    shop = Shop()
    server = await asyncio.start_server(shop.serve, "127.0.0.1", 0)
    shop.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield shop


async def test_the_answer_of_a_call_serves_later_steps(stage: Stage, shop: Shop) -> None:
    shop.answers = [(200, {"coupon": "SAVE10", "vip": True})]
    call = {
        "url": f"{shop.url}/{{{{ entry.properties.cart_id }}}}",
        "body": {"name": "{{ customer.traits.name }}", "n": "{{ entry.properties.n }}"},
        "save_as": "offer",
    }
    asks = {"event": "properties.cart_id", "eq": {"saved": "offer.coupon"}}
    is_vip = {"all": [{"saved": "offer.vip", "eq": True}, {"saved": "offer.coupon", "starts_with": "SAVE"}]}
    await stage.publish(
        journey(
            {"call": call, "id": "ask"},
            {"branch": [{"if": asks, "steps": []}, {"if": is_vip, "steps": []}], "id": "b"},
            {"update": {"traits": {"coupon": "{{ saved.offer.coupon }}"}}, "id": "keep"},
        )
    )
    entry = {"event": "Product Added", "properties": {"cart_id": "c7", "n": 3}}
    run = await stage.enter("welcome", await stage.customer(name="Ada"), entry=entry)

    ended = await run.ends()

    [(headers, body)] = shop.requests
    assert (headers["path"], body) == ("/c7", {"name": "Ada", "n": 3})
    assert headers["webhook-id"].startswith("call_")
    assert "." not in headers["webhook-id"]
    assert ended.saved == {"offer": {"coupon": "SAVE10", "vip": True}}
    logged, branched = await run.step("ask"), await run.step("b")
    assert logged is not None
    assert logged.detail == {"status": 200, "saved": "offer"}
    assert branched is not None
    assert branched.detail == {"arm": "1"}


async def test_a_call_is_repeated_under_the_same_id_until_it_is_taken(stage: Stage, shop: Shop) -> None:
    shop.answers = [(503, {}), (429, {}), (200, {})]
    await stage.publish(journey({"call": {"url": shop.url}, "id": "ask"}))
    run = await stage.enter("welcome")

    await run.ends()

    assert len(shop.requests) == 3
    assert len({headers["webhook-id"] for headers, _ in shop.requests}) == 1
    assert shop.requests[0][1]["type"] == "journey.call"
    assert await run.log() == [("ask", 1, "done", None)]


async def test_a_refused_call_takes_the_steps_for_failures(stage: Stage, shop: Shop) -> None:
    shop.answers = [(410, {})]
    on_failure = [{"send": {"template": "t"}, "id": "sorry"}]
    await stage.publish(journey({"call": {"url": shop.url, "on_failure": on_failure}, "id": "ask"}))
    run = await stage.enter("welcome")

    await run.ends()

    assert len(shop.requests) == 1
    assert stage.outbox.sent == [("sorry", 1)]
    assert (await run.log())[0] == ("ask", 1, "failed", "http_410")


async def test_a_call_that_is_never_taken_is_given_up_when_it_is_too_late(stage: Stage, shop: Shop) -> None:
    shop.answers = [(500, {})]
    await stage.publish(journey({"call": {"url": shop.url, "not_after": "1h", "on_failure": "exit"}, "id": "ask"}))
    run = await stage.enter("welcome")

    ended = await run.ends()

    assert (ended.state, ended.reason) == ("exited", "not_after")
    assert 5 < len(shop.requests) < 40


async def test_a_shop_that_wants_to_be_asked_again_in_thirty_years_holds_no_run(stage: Stage, shop: Shop) -> None:
    shop.answers = [(429, {}, 999_999_999)]
    await stage.publish(journey({"call": {"url": shop.url, "not_after": "1h", "on_failure": "exit"}, "id": "ask"}))
    run = await stage.enter("welcome")

    ended = await run.ends()

    assert (ended.state, ended.reason) == ("exited", "not_after")
    assert len(shop.requests) == 1
    assert ended.ended_at is not None
    assert ended.ended_at - ended.entered_at < timedelta(minutes=62)


async def test_a_holdout_calls_nobody(stage: Stage, shop: Shop) -> None:
    await stage.publish(journey({"call": {"url": shop.url}, "id": "ask"}))
    run = await stage.enter("welcome", shadow=True)

    await run.ends()

    assert shop.requests == []
    assert await run.log() == [("ask", 1, "skipped", "holdout")]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"thank you", "no_json"),
        (b"", "no_json"),
        (b'{"a":' * 200 + b"1" + b"}" * 200, "too_deep"),
        (b'{"name": "nul \\u0000"}', "nul_character"),
        (b'{"much": "' + b"x" * 2_000_000 + b'"}', "no_json"),
    ],
    ids=["words", "nothing", "too deep", "nul", "too much"],
)
async def test_a_call_says_what_of_its_answer_was_not_saved_and_the_run_goes_on(
    stage: Stage, shop: Shop, answer: bytes, why: str
) -> None:
    shop.answers = [(200, answer)]
    reads = {"update": {"traits": {"coupon": "{{ saved.offer.coupon | default('none') }}"}}, "id": "keep"}
    await stage.publish(journey({"call": {"url": shop.url, "save_as": "offer"}, "id": "ask"}, reads))
    run = await stage.enter("welcome")

    ended = await run.ends()

    logged = await run.step("ask")
    assert logged is not None
    assert logged.detail == {"status": 200, "saved": None, "not_saved": why}
    assert (ended.state, ended.saved) == ("completed", {})
