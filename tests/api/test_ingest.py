"""Taking events in over HTTP: what is accepted, what is refused with which code, and what is stored."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import httpx
import pytest

from api.bell import Bell
from database.session import Database
from tests.api.ingesting import a_track, stored, stored_one

SINGLE = {
    "track": {"event": "Product Viewed"},
    "identify": {"traits": {"plan": "gold"}},
    "page": {"name": "Home"},
    "screen": {"name": "Home"},
    "group": {"groupId": "g-1"},
    "alias": {"previousId": "old"},
}


TRACK = b'{"type": "track", "event": "e", "userId": "u", "properties": '


@pytest.mark.parametrize("alias", [False, True])
@pytest.mark.parametrize(("call", "members"), SINGLE.items())
async def test_every_call_and_its_alias_are_taken(
    shop: httpx.AsyncClient, database: Database, call: str, members: dict[str, Any], alias: bool
) -> None:
    path = f"/v1/{call[0] if alias else call}"

    answer = await shop.post(path, json={"userId": "ann", "messageId": "m-1", **members})

    assert (answer.status_code, answer.json()) == (200, {"success": True})
    event = await stored_one(database)
    assert (event["kind"], event["message_id"], event["source"], event["trusted"]) == (call, "m-1", "server", True)


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/b", "/v1/import"])
async def test_a_batch_says_what_became_of_each_item(shop: httpx.AsyncClient, database: Database, path: str) -> None:
    await shop.post("/v1/track", json=a_track("known"))
    items = [
        a_track("new"),
        a_track("known"),
        a_track("known", properties={"other": True}),
        {"type": "track", "event": "x"},
        a_track("new-2", userId=None, anonymousId="anon"),
        "text",
        a_track("new-2", userId=None, anonymousId="anon"),
    ]

    answer = await shop.post(path, json={"batch": items})

    told = answer.json()
    assert (answer.status_code, told["success"], told["accepted"], told["duplicates"]) == (200, True, 2, 2)
    assert [(refusal["index"], refusal["code"]) for refusal in told["rejected"]] == [
        (2, "message_id_reused"),
        (3, "no_user_anon_id"),
        (5, "not_an_object"),
    ]
    assert all(refusal["message"] for refusal in told["rejected"])
    assert [event["message_id"] for event in await stored(database)] == ["known", "new", "new-2"]


async def test_an_empty_batch_is_fine(shop: httpx.AsyncClient) -> None:
    answer = await shop.post("/v1/batch", json={"batch": []})

    assert (answer.status_code, answer.json()["accepted"]) == (200, 0)


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "image/png", None])
@pytest.mark.parametrize("encoding", [None, "gzip", "identity"])
async def test_content_type_and_encoding_are_not_believed(
    shop: httpx.AsyncClient, database: Database, content_type: str | None, encoding: str | None
) -> None:
    """Gzip is told by its content: RudderStack's Node client says form-urlencoded, proxies drop Content-Encoding."""
    plain = json.dumps({"batch": [a_track("m-1")]}).encode()
    headers = {
        **({"Content-Type": content_type} if content_type else {}),
        **({"Content-Encoding": encoding} if encoding else {}),
    }
    for body in (plain, gzip.compress(plain)):
        assert (await shop.post("/v1/batch", content=body, headers=headers)).status_code == 200

    assert len(await stored(database)) == 1


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"userId": None}, "no_user_anon_id"),
        ({"userId": "", "anonymousId": None}, "no_user_anon_id"),
        ({"userId": {"id": 1}}, "invalid_user_id"),
        ({"userId": True}, "invalid_user_id"),
        ({"userId": "x" * 256}, "user_id_too_long"),
        ({"userId": [], "anonymousId": None}, "invalid_user_id"),
        ({"userId": None, "anonymousId": 1.5}, "invalid_anonymous_id"),
        ({"messageId": ["m"]}, "invalid_message_id"),
        ({"messageId": "m" * 256}, "message_id_too_long"),
        ({"event": None}, "event_name_missing"),
        ({"event": 7}, "event_name_missing"),
        ({"event": " "}, "event_name_missing"),
        ({"event": "e" * 201}, "event_name_too_long"),
        ({"properties": [1]}, "invalid_properties"),
        ({"context": "web"}, "invalid_context"),
        ({"properties": {"a": "x\0"}}, "nul_character"),
        ({"properties": {"a\0": 1}}, "nul_character"),
        ({"userId": "ann\0"}, "nul_character"),
        ({"event": "Viewed\0"}, "nul_character"),
    ],
)
async def test_a_bad_event_is_told_by_its_code_alone_or_in_a_batch(
    shop: httpx.AsyncClient, database: Database, members: dict[str, Any], code: str
) -> None:
    bad = a_track("bad") | members

    alone = await shop.post("/v1/track", json=bad)
    among = await shop.post("/v1/batch", json={"batch": [a_track("good-1"), bad, a_track("good-2")]})

    assert (alone.status_code, alone.json()["code"]) == (400, code)
    assert alone.headers["content-type"] == "application/problem+json"
    assert (among.json()["accepted"], among.json()["rejected"][0]["code"]) == (2, code)
    assert [event["message_id"] for event in await stored(database)] == ["good-1", "good-2"]


@pytest.mark.parametrize("none", [[], {}, True, 1.5, ["v-1"], {"id": "v-1"}, "x" * 256])
async def test_what_cannot_be_an_id_costs_no_event_that_another_id_identifies(
    shop: httpx.AsyncClient, database: Database, none: Any
) -> None:
    calls = [
        a_track("m-1") | {"userId": "ann", "anonymousId": none},
        a_track("m-2") | {"userId": none, "anonymousId": "v-1"},
        {"type": "identify", "messageId": "m-3", "userId": 7, "anonymousId": none},
    ]

    answer = await shop.post("/v1/batch", json={"batch": calls})

    assert (answer.json()["accepted"], answer.json()["rejected"]) == (3, [])
    assert [(event["user_id"], event["anonymous_id"]) for event in await stored(database)] == [
        ("ann", None),
        (None, "v-1"),
        ("7", None),
    ]


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"type": "alias", "previousId": []}, "invalid_previous_id"),
        ({"type": "alias", "userId": {}, "anonymousId": "v-1", "previousId": "v-0"}, "invalid_user_id"),
        ({"type": "group", "groupId": []}, "invalid_group_id"),
    ],
)
async def test_a_call_about_an_id_that_is_none_says_nothing(
    shop: httpx.AsyncClient, members: dict[str, Any], code: str
) -> None:
    answer = await shop.post("/v1/batch", json={"batch": [a_track("m-1"), {"userId": "ann"} | members]})

    assert (answer.json()["accepted"], answer.json()["rejected"][0]["code"]) == (1, code)


@pytest.mark.parametrize(
    ("item", "code"),
    [
        (b'{"type": "track", "event": "e", "userId": "\\ud800"}', "invalid_json"),
        (b'{"type": "track", "event": "e", "userId": "\xff\xfe"}', "invalid_json"),
        (b'{"type": "track", "event": "e", "userId": "u", "properties": {"a": NaN}}', "invalid_json"),
        (b'{"type": "track", "event": "e", "userId": "u", "properties": {"a": 1e400}}', "invalid_json"),
        (b'{"type": "track", "event": "e", "userId": "u", "properties": {"a": -Infinity}}', "invalid_json"),
        (
            TRACK + b"[" * 10_000 + b"]" * 10_000 + b"}",
            "invalid_json",
        ),
        (
            TRACK + b'{"a":' * 300 + b"1" + b"}" * 301,
            "too_deep",
        ),
        (
            TRACK + b'{"a":' * 80 + b"1" + b"}" * 81,
            "too_deep",
        ),
        (b'{"type": "track", "event": }', "invalid_json"),
        (b'{"type": "track" "event": "e"}', "invalid_json"),
        (b"", "invalid_json"),
        (b"nonsense", "invalid_json"),
        (b'"]}"', "not_an_object"),
    ],
)
async def test_an_item_that_is_not_even_json_costs_its_neighbours_nothing(
    shop: httpx.AsyncClient, database: Database, item: bytes, code: str
) -> None:
    good = [json.dumps(a_track(f"good-{n}", properties={"text": 'a "quoted" ] } bracket'})).encode() for n in (1, 2)]
    body = b'{"sentAt": "2026-11-21T00:00:00Z", "batch": [' + b",".join([good[0], item, good[1]]) + b'], "context": {}}'

    answer = await shop.post("/v1/batch", content=body)

    told = answer.json()
    assert (answer.status_code, told["accepted"]) == (200, 2)
    assert [(refusal["index"], refusal["code"]) for refusal in told["rejected"]] == [(1, code)]
    assert [event["message_id"] for event in await stored(database)] == ["good-1", "good-2"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "invalid_json"),
        (b"{", 400, "invalid_json"),
        (b"[]", 400, "not_an_object"),
        (b"null", 400, "not_an_object"),
        (b'{"batch": [1, 2', 400, "invalid_json"),
        (b'{"batch": [{]}', 400, "invalid_json"),
        (b"[" * 100_000, 400, "invalid_json"),
        (b'{"batch": {}}', 400, "batch_missing"),
        (b'{"event": "Product Viewed"}', 400, "batch_missing"),
        (b'{"batch": [], "context": 7}', 400, "invalid_context"),
        (b'{"batch": [], "context": {"a": "\\u0000"}}', 400, "nul_character"),
        (json.dumps({"batch": [], "context": {"a": "x" * 5_000}}).encode(), 413, "context_too_large"),
        (json.dumps({"batch": [0] * 2_501}).encode(), 413, "too_many_events"),
        (b'{"batch": ["' + b"x" * 520_000 + b'"]}', 413, "body_too_large"),
        (b"\x1f\x8b\x08nonsense", 400, "invalid_gzip"),
        (gzip.compress(b'{"batch": []}', mtime=0)[:-9], 400, "invalid_gzip"),
        (gzip.compress(b" " * 50_000_000, mtime=0), 413, "body_too_large"),
    ],
)
async def test_a_bad_body_gets_a_problem_that_says_what_is_wrong(
    shop: httpx.AsyncClient, body: bytes, status: int, code: str
) -> None:
    answer = await shop.post("/v1/batch", content=body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert {"type", "title", "status", "detail", "message"} <= answer.json().keys()


async def test_an_event_over_32_kb_is_refused_alone_and_in_a_batch(shop: httpx.AsyncClient, database: Database) -> None:
    large = a_track("large", properties={"text": "x" * 33_000})

    alone = await shop.post("/v1/track", json=large)
    among = await shop.post("/v1/batch", json={"batch": [a_track("good"), large]})

    assert (alone.status_code, alone.json()["code"]) == (413, "event_too_large")
    assert (among.json()["accepted"], among.json()["rejected"][0]["code"]) == (1, "event_too_large")
    assert (await stored_one(database))["message_id"] == "good"


async def test_one_message_id_with_two_bodies_is_told_and_the_first_is_kept(
    shop: httpx.AsyncClient, database: Database
) -> None:
    answers = [await shop.post("/v1/track", json=a_track("m-1", properties={"n": n})) for n in (1, 1, 2)]

    assert [answer.status_code for answer in answers] == [200, 200, 409]
    assert answers[-1].json()["code"] == "message_id_reused"
    assert (await stored_one(database))["properties"] == {"n": 1}


async def test_without_a_message_id_every_call_is_an_event(shop: httpx.AsyncClient, database: Database) -> None:
    """De-duplication is by id, as Segment's: a customer may do the same thing twice."""
    for _ in range(2):
        await shop.post("/v1/track", json=a_track(None))

    assert len({event["message_id"] for event in await stored(database)}) == 2


async def test_old_ecommerce_names_become_the_ones_journeys_know(shop: httpx.AsyncClient, database: Database) -> None:
    await shop.post("/v1/track", json=a_track(event="Completed Order"))

    assert (await stored_one(database))["name"] == "Order Completed"


async def test_traits_are_taken_from_the_body_or_from_the_context(shop: httpx.AsyncClient, database: Database) -> None:
    for members in (
        {"traits": {"plan": "gold"}},
        {"traits": None, "context": {"traits": {"plan": "gold"}}},
        {"traits": {"plan": "gold"}, "context": {"traits": {"plan": "old"}}},
    ):
        await shop.post("/v1/identify", json={"userId": "ann"} | members)

    assert [event["traits"] for event in await stored(database)] == [{"plan": "gold"}] * 3


async def test_the_traits_of_a_group_are_not_the_customers(shop: httpx.AsyncClient, database: Database) -> None:
    await shop.post("/v1/group", json={"userId": "ann", "groupId": 7, "traits": {"name": "Acme"}})

    event = await stored_one(database)
    assert (event["traits"], event["properties"]) == ({}, {"group_id": "7", "traits": {"name": "Acme"}})


async def test_an_alias_to_itself_is_accepted(shop: httpx.AsyncClient, database: Database) -> None:
    answer = await shop.post("/v1/alias", json={"userId": "ann", "previousId": "ann"})

    assert answer.status_code == 200
    assert (await stored_one(database))["previous_id"] == "ann"


async def test_a_batch_gives_its_context_to_its_items(shop: httpx.AsyncClient, database: Database) -> None:
    item = a_track(context={"locale": "de"})

    await shop.post("/v1/batch", json={"batch": [item], "context": {"locale": "en", "app": {"name": "shop"}}})

    assert (await stored_one(database))["context"] == {"locale": "de", "app": {"name": "shop"}}


async def test_segments_own_metrics_are_answered_politely(shop: httpx.AsyncClient, database: Database) -> None:
    answer = await shop.post("/v1/m", content=b'{"series": []}')

    assert (answer.status_code, await stored(database)) == (200, [])


async def test_routers_hear_of_events_after_the_commit(shop: httpx.AsyncClient, database: Database) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with database.engine.connect() as listener:
        connection = (await listener.get_raw_connection()).driver_connection
        assert connection is not None
        await connection.add_listener("events", lambda *_: heard.put_nowait("rung"))
        await shop.post("/v1/track", json=a_track())
        await asyncio.wait_for(heard.get(), timeout=60)


async def test_routers_hear_once_of_all_that_was_committed_since_they_heard_last(database: Database) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    bell = Bell(database)
    async with database.engine.connect() as listener, bell.running():
        connection = (await listener.get_raw_connection()).driver_connection
        assert connection is not None
        await connection.add_listener("events", lambda *_: heard.put_nowait("rung"))
        for _ in range(2):
            for _ in range(20):
                bell.ring()
            await asyncio.wait_for(heard.get(), timeout=60)
        await asyncio.sleep(0.1)

    assert heard.empty()


@pytest.mark.parametrize(("enter", "enters"), [(None, False), (False, False), (True, True)])
async def test_an_import_is_history_and_starts_journeys_only_if_it_says_so(
    shop: httpx.AsyncClient, database: Database, enter: bool | None, enters: bool
) -> None:
    body = {"batch": [a_track()]} if enter is None else {"batch": [a_track()], "enter": enter}

    await shop.post("/v1/import", json=body)
    await shop.post("/v1/batch", json=body)

    marks = [(event["is_history"], event["enters"]) for event in await stored(database)]
    assert marks == [(True, enters), (False, False)]


async def test_an_import_that_does_not_say_clearly_whether_journeys_may_start_is_refused(
    shop: httpx.AsyncClient, database: Database
) -> None:
    answer = await shop.post("/v1/import", json={"batch": [a_track()], "enter": "yes"})

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_enter")
    assert await stored(database) == []
