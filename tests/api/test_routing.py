"""What every route gets: one transaction, idempotency keys, strict JSON, raw paths, problem documents."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import quote

import httpx
import pytest
from structlog.testing import capture_logs

from database.session import Database
from domain.keys import KeyKind, Scope
from tests.api.toy import make_key, toy_client


@pytest.fixture
async def toys(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    # Unconfigured, structlog draws tracebacks with all local variables, which takes seconds for each.
    with capture_logs():
        async with toy_client(database) as client:
            client.headers["Authorization"] = f"Bearer {await make_key(database, 'admin', KeyKind.SECRET, Scope.ADMIN)}"
            yield client


async def names(toys: httpx.AsyncClient) -> list[str]:
    answer: list[str] = (await toys.get("/toys")).json()
    return answer


async def test_a_finished_request_is_committed_before_its_answer(toys: httpx.AsyncClient) -> None:
    answer = await toys.post("/toys", json={"name": "ball"})

    assert (answer.status_code, await names(toys)) == (201, ["ball-0"])


@pytest.mark.parametrize(("mood", "status"), [("refusing", 409), ("answering", 409), ("broken", 500)])
async def test_whatever_is_refused_or_breaks_leaves_nothing(toys: httpx.AsyncClient, mood: str, status: int) -> None:
    answer = await toys.post("/toys", json={"name": "ball", "mood": mood})

    assert (answer.status_code, await names(toys)) == (status, [])


async def test_the_same_key_and_request_get_the_first_answer_again(toys: httpx.AsyncClient) -> None:
    tries = [
        await toys.post("/toys", json={"name": "ball"}, headers={"Idempotency-Key": key})
        for key in ("k-1", "k-1", '"k-1"')
    ]

    assert [answer.content for answer in tries] == [b'{"name":"ball","count":1}'] * 3
    assert [answer.status_code for answer in tries] == [201, 201, 201]
    assert [answer.headers["etag"] for answer in tries] == ['"1"'] * 3
    assert [answer.headers.get("idempotency-replayed") for answer in tries] == [None, "true", "true"]
    assert await names(toys) == ["ball-0"]


async def test_the_same_key_with_another_body_is_refused(toys: httpx.AsyncClient) -> None:
    await toys.post("/toys", json={"name": "ball"}, headers={"Idempotency-Key": "k-1"})

    answer = await toys.post("/toys", json={"name": "kite"}, headers={"Idempotency-Key": "k-1"})

    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_mismatch")
    assert await names(toys) == ["ball-0"]


async def test_a_body_written_anew_is_the_same_body(toys: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "k-1", "Content-Type": "application/json"}
    first = await toys.post("/toys", content='{"name": "ball", "seconds": 0}', headers=headers)

    again = await toys.post("/toys", content='{"seconds":0,"name":"ball"}', headers=headers)

    assert (again.status_code, again.content) == (201, first.content)
    assert await names(toys) == ["ball-0"]


@pytest.mark.parametrize("mood", ["refusing", "answering", "broken"])
async def test_after_a_refusal_the_key_may_be_tried_afresh(toys: httpx.AsyncClient, mood: str) -> None:
    headers = {"Idempotency-Key": "k-1"}
    await toys.post("/toys", json={"name": "ball", "mood": mood}, headers=headers)

    answer = await toys.post("/toys", json={"name": "ball"}, headers=headers)

    assert (answer.status_code, "idempotency-replayed" in answer.headers) == (201, False)


async def test_parallel_requests_with_one_key_do_it_once_and_get_one_answer(toys: httpx.AsyncClient) -> None:
    async def attempt() -> httpx.Response:
        return await toys.post("/toys", json={"name": "ball", "seconds": 0.05}, headers={"Idempotency-Key": "k-1"})

    answers = await asyncio.gather(*(attempt() for _ in range(20)))

    assert {answer.content for answer in answers} == {b'{"name":"ball","count":1}'}
    assert sum("idempotency-replayed" in answer.headers for answer in answers) == 19
    assert await names(toys) == ["ball-0"]


async def test_two_api_keys_may_use_the_same_idempotency_key(toys: httpx.AsyncClient, database: Database) -> None:
    other = await make_key(database, "other", KeyKind.SECRET, Scope.ADMIN)
    for authorization in (toys.headers["Authorization"], f"Bearer {other}"):
        headers = {"Idempotency-Key": "k-1", "Authorization": authorization}
        await toys.post("/toys", json={"name": "ball"}, headers=headers)

    assert await names(toys) == ["ball-0", "ball-1"]


async def test_a_key_that_lost_its_scope_learns_nothing_of_an_earlier_answer(
    toys: httpx.AsyncClient, database: Database
) -> None:
    reader = await make_key(database, "reader", KeyKind.SECRET, Scope.CUSTOMERS_READ)

    answer = await toys.post(
        "/toys", json={"name": "ball"}, headers={"Idempotency-Key": "k-1", "Authorization": f"Bearer {reader}"}
    )

    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")


@pytest.mark.parametrize("key", ["", '""', "k" * 256, "clé", "a\tb"])
async def test_an_idempotency_key_that_is_none_is_told(toys: httpx.AsyncClient, key: str) -> None:
    headers = httpx.Headers({b"Idempotency-Key": key.encode()})
    answer = await toys.post("/toys", json={"name": "ball"}, headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_malformed")
    assert await names(toys) == []


@pytest.mark.parametrize(
    ("body", "status", "code", "pointer"),
    [
        (b"{", 400, "malformed", None),
        (b'{"name": NaN}', 400, "malformed", None),
        (b'{"name": "\xff"}', 400, "malformed", None),
        (b'{"name": "\\ud800"}', 400, "malformed", None),
        (b'{"name": ' + b"[" * 3_000 + b"]" * 3_000 + b"}", 400, "malformed", None),
        (b'{"name": "ball", "extra": {"a/b": [1, "\\u0000"]}}', 422, "invalid", "/extra/a~1b/1"),
        (b'{"name": "ball", "extra": ' + b'{"a":' * 70 + b"1" + b"}" * 71, 422, "invalid", "/extra" + "/a" * 63),
        (b'{"mood": 3}', 422, "invalid", "/name"),
        (b"[]", 422, "invalid", ""),
        (b'"' + b"x" * 20_000 + b'"', 413, "too_large", None),
    ],
)
async def test_bad_bodies_get_a_problem_that_says_what_and_where(
    toys: httpx.AsyncClient, body: bytes, status: int, code: str, pointer: str | None
) -> None:
    answer = await toys.post("/toys", content=body, headers={"Content-Type": "application/json"})

    told = answer.json()
    assert (answer.status_code, told["code"], told["status"]) == (status, code, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "detail", "message"} <= told.keys()
    assert [fault["pointer"] for fault in told.get("errors", [])][:1] == ([] if pointer is None else [pointer])
    assert await names(toys) == []


@pytest.mark.parametrize("customer_id", ["ann", "a/b", "100%", "ann@example.com", "a+b", "ü/日本 ?#", "%2F", "\\"])
async def test_any_customer_id_can_stand_in_a_path(toys: httpx.AsyncClient, customer_id: str) -> None:
    answer = await toys.get(f"/toys/{quote(customer_id, safe='')}/friends")

    assert (answer.status_code, answer.json()) == (200, {"customer_id": customer_id})


@pytest.mark.parametrize("encoded", ["%00", "%ff", "x" * 256])
async def test_what_cannot_be_an_id_is_told(toys: httpx.AsyncClient, encoded: str) -> None:
    answer = await toys.get(f"/toys/{encoded}/friends")

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/path/customer_id")


async def test_unknown_paths_and_methods_get_problems_too(toys: httpx.AsyncClient) -> None:
    missing, wrong = await toys.get("/nowhere"), await toys.delete("/toys")

    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
    assert set(wrong.headers["allow"].split(", ")) >= {"GET"}


async def test_a_defect_is_logged_once_and_the_answer_says_nothing_of_it(toys: httpx.AsyncClient) -> None:
    with capture_logs() as logged:
        answer = await toys.post("/toys", json={"name": "ann@example.com", "mood": "broken"})

    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "ann@example.com" not in answer.text
    assert [(entry["event"], entry["route"]) for entry in logged] == [("request_failed", "/toys")]
