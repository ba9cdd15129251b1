"""Meta's webhooks, and posts with their figures."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import func, select

from api.dependencies import ApiDependencies
from database.events import Event
from database.session import Database
from database.unread_reports import UnreadReport

NOW = datetime(2026, 6, 10, 13, 0, tzinfo=UTC)
SECRET, TOKEN = "app-secret", "verify-token"
COMMENT = {
    "field": "comments",
    "value": {"id": "c-1", "text": "Lovely ☀", "from": {"id": "9", "username": "ann"}, "media": {"id": "m-1"}},
}
MENTION = {"field": "mentions", "value": {"media_id": "m-2", "comment_id": "c-2"}}


@pytest.fixture
def api_dependencies(database: Database) -> ApiDependencies:
    """An API that Meta may tell things."""
    return ApiDependencies(database=database, now=lambda: NOW, meta_app_secret=SECRET, meta_verify_token=TOKEN)


def notification(*changes: dict[str, Any], kind: str = "instagram") -> bytes:
    """As Meta writes it: non-ASCII escaped in the signed body."""
    body = orjson.dumps({"object": kind, "entry": [{"id": "1", "time": int(NOW.timestamp()), "changes": changes}]})
    return body.decode().encode("ascii", "backslashreplace")


async def post(client: httpx.AsyncClient, body: bytes, secret: str = SECRET) -> httpx.Response:
    signature = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return await client.post("/v1/hooks/meta", content=body, headers={"X-Hub-Signature-256": signature})


async def events(database: Database) -> list[Event]:
    async with database.read() as session:
        return list((await session.execute(select(Event).order_by(Event.id))).scalars())


async def test_meta_learns_that_the_address_is_ours(client: httpx.AsyncClient) -> None:
    asked = {"hub.mode": "subscribe", "hub.verify_token": TOKEN, "hub.challenge": "1158201444"}
    answer = await client.get("/v1/hooks/meta", params=asked)
    assert (answer.status_code, answer.text) == (200, "1158201444")
    assert answer.headers["content-type"].startswith("text/plain")
    wrong = await client.get("/v1/hooks/meta", params={**asked, "hub.verify_token": "guess"})
    assert (wrong.status_code, wrong.json()["code"]) == (403, "verify_token_invalid")


async def test_comments_and_mentions_become_events_once(client: httpx.AsyncClient, database: Database) -> None:
    first, again = [await post(client, notification(COMMENT, MENTION)) for _ in range(2)]

    assert (first.json(), again.json()) == ({"received": 2, "new": 2}, {"received": 2, "new": 0})
    comment, mention = await events(database)
    assert (comment.name, comment.source, comment.anonymous_id, comment.trusted) == (
        *("Social Comment Received", "meta", "instagram:9", False),
    )
    assert comment.properties == {
        "network": "instagram", "post_id": "m-1", "comment_id": "c-1", "author": "ann", "text": "Lovely ☀",
    }  # fmt: skip
    assert (mention.name, mention.anonymous_id) == ("Social Mention Received", "instagram:post:m-2")


async def test_what_the_shop_answers_itself_is_marked_as_its_own(client: httpx.AsyncClient, database: Database) -> None:
    """Else a journey answers the shop's own replies, which answers those."""
    reply = {"field": "comments", "value": {"id": "c-3", "text": "Thank you!", "from": {"id": "1", "username": "us"}}}
    page = {"item": "comment", "verb": "add", "comment_id": "c-4", "post_id": "p", "from": {"id": 1, "name": "Us"}}

    await post(client, notification(COMMENT, reply))
    await post(client, notification({"field": "feed", "value": page}, kind="page"))

    assert [event.properties.get("own") for event in await events(database)] == [None, True, True]


@pytest.mark.parametrize(
    "author",
    [
        {"sender_id": "44", "sender_name": "Ann"},
        {"sender_id": 44, "sender_name": "Ann"},
        {"sender": {"id": "44", "name": "Ann"}},
        {"from": {"id": "44", "name": "Ann"}},
    ],
)
async def test_a_mention_is_the_word_of_whoever_wrote_it(
    client: httpx.AsyncClient, database: Database, author: dict[str, Any]
) -> None:
    mention = {"item": "post", "verb": "add", "post_id": "p-1", "message": "Look @lamps", **author}

    await post(client, notification({"field": "mention", "value": mention}, kind="page"))

    [event] = await events(database)
    assert (event.name, event.anonymous_id) == ("Social Mention Received", "facebook:44")
    assert (event.properties["author"], event.properties["text"]) == ("Ann", "Look @lamps")


async def test_likes_and_what_was_taken_back_are_passed_over(client: httpx.AsyncClient, database: Database) -> None:
    like = {"field": "feed", "value": {"item": "like", "verb": "add", "post_id": "p", "from": {"id": "9"}}}
    removed = {"field": "feed", "value": {"item": "comment", "verb": "remove", "comment_id": "c", "post_id": "p"}}
    said = {"item": "comment", "verb": "add", "comment_id": "d", "post_id": "p", "message": "Hi"}
    written = {"field": "feed", "value": said}
    answer = await post(client, notification(like, removed, written, kind="page"))
    assert answer.json() == {"received": 1, "new": 1}
    [event] = await events(database)
    assert event.properties["network"] == "facebook"


async def test_an_unsigned_or_wrongly_signed_body_is_refused(client: httpx.AsyncClient, database: Database) -> None:
    body = notification(COMMENT)
    unsigned = await client.post("/v1/hooks/meta", content=body)
    forged = await post(client, body, secret="guess")
    assert [(each.status_code, each.json()["code"]) for each in (unsigned, forged)] == [(403, "signature_invalid")] * 2
    assert await events(database) == []


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b'{"object":"instagram"}', b'{"object":"instagram","entry":{}}', b"\xff"]
)
async def test_a_signed_body_that_is_no_notification_is_malformed(client: httpx.AsyncClient, body: bytes) -> None:
    assert (await post(client, body)).status_code == 400


@pytest.mark.parametrize(
    "changes",
    [
        [{"field": "comments"}],
        [{"field": "comments", "value": []}],
        [{"field": "comments", "value": {}}],
        [{"field": None, "value": {"id": "1"}}],
        [{"field": "comments", "value": {"id": {"a": 1}, "from": "x", "media": 3, "text": 4}}],
        [None, 3, "x"],
    ],
)
async def test_changes_that_cannot_be_read_are_passed_over(client: httpx.AsyncClient, changes: list[Any]) -> None:
    answer = await post(client, notification(*changes))
    assert (answer.status_code, answer.json()["new"]) == (200, 0)


@pytest.mark.parametrize(
    ("broken", "unread"),
    [
        (b'{"field": "comments", "value": {"id": "\\ud800"}}', 1),
        (b'{"field": "comments", "value": {"id": "\xff"}}', 1),
        (b'{"field": "comments", "value": {"id": "a\\u0000"}}', 1),
        (b'{"field": "comments", "value": 7}', 1),
        (b'{"field": "likes", "value": {"text": "\xff \\ud800 \\u0000"}}', 0),
        (b'{"field": "comments", "value": ' + b"[" * 300 + b"]" * 300 + b"}", 1),
        (b'{"field": "comments", "value": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", 1),
        (b'{"field": "comments", "value": {"id": }}', 1),
        (b'{"field": "comments", "value": {"id": "]}, {", "text": oh no}}', 1),
    ],
)
async def test_a_broken_change_costs_its_neighbours_nothing_and_is_counted(
    client: httpx.AsyncClient, database: Database, broken: bytes, unread: int
) -> None:
    fine = [b'{"field": "comments", "value": {"id": "%d", "text": "sch\xc3\xb6n \xff"}}' % number for number in (1, 2)]
    changes = b", ".join([fine[0], broken, fine[1]])

    answer = await post(client, b'{"object": "instagram", "entry": [null, {"time": 1, "changes": [' + changes + b"]}]}")

    assert (answer.status_code, answer.json()) == (200, {"received": 2, "new": 2, "unread": unread + 1})
    async with database.read() as session:
        assert await session.scalar(select(func.sum(UnreadReport.items))) == unread + 1
        texts = (await session.scalars(select(Event.properties))).all()
    assert {text["text"] for text in texts} == {"schön \ufffd"}


class TestWithoutSecrets:
    """A deployment that has not set Meta's webhook up."""

    @pytest.fixture
    def api_dependencies(self, database: Database) -> ApiDependencies:
        """An API that knows no secret of Meta's."""
        return ApiDependencies(database=database, now=lambda: NOW)

    async def test_nothing_is_there(self, client: httpx.AsyncClient) -> None:
        answers = [await client.get("/v1/hooks/meta"), await post(client, notification(COMMENT))]
        assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(404, "hook_not_set_up")] * 2


def a_post(post_id: str, **changes: Any) -> dict[str, Any]:
    return {"network": "instagram", "post_id": post_id, "posted_at": "2026-06-01T09:00:00Z", **changes}


async def test_posts_are_imported_and_engagement_is_reported_by_variant(client: httpx.AsyncClient) -> None:
    posts = [
        a_post("1", figures={"likes": 20, "comments": 5, "saves": 5}, reach=1_000, impressions=2_000, followers=3_000),
        a_post("2", engagements=10, impressions=2_000, followers=1_000),
        a_post("3", network="tiktok", engagements=1_000, reach=1),
    ]
    first = await client.post("/v1/social/posts", json={"posts": posts})
    assert first.json() == {"received": 3, "written": 3}

    period = {"network": "instagram", "from": "2026-06-01T00:00:00Z", "to": "2026-06-11T00:00:00Z"}
    told = (await client.get("/v1/social/engagement", params=period)).json()

    assert (told["posts"], told["engagements"]) == (2, 40)
    assert told["by_reach"] == {"percent": 3.0, "posts": 1}
    assert told["by_impressions"] == {"percent": 1.0, "posts": 2}
    assert told["by_followers"] == {"percent": 1.0, "posts": 2}
    assert told["per_day"] == {"percent": 0.4, "posts": 2}


async def test_engagement_a_day_is_measured_by_the_followers_of_each_network(client: httpx.AsyncClient) -> None:
    """A small network that was measured last does not stand for a large one."""
    posts = [
        a_post("1", engagements=30, followers=9_000, measured_at="2026-06-02T00:00:00Z"),
        a_post("2", engagements=10, followers=1_000, network="tiktok", measured_at="2026-06-03T00:00:00Z"),
        a_post("3", engagements=70, network="x"),
    ]
    await client.post("/v1/social/posts", json={"posts": posts})

    async def per_day(**asked: str) -> Any:
        period = {"from": "2026-06-01T00:00:00Z", "to": "2026-06-03T00:00:00Z", **asked}
        return (await client.get("/v1/social/engagement", params=period)).json()["per_day"]

    assert await per_day() == {"percent": 0.2, "posts": 2}
    assert await per_day(network="instagram") == {"percent": 0.1667, "posts": 1}
    assert await per_day(network="x") == {"percent": None, "posts": 0}


@pytest.mark.parametrize(("to", "percent"), [("12:00", 6.0), ("24:00", 3.0), ("36:00", 2.0)])
async def test_part_of_a_day_counts_as_that_part(client: httpx.AsyncClient, to: str, percent: float) -> None:
    await client.post("/v1/social/posts", json={"posts": [a_post("1", engagements=30, followers=1_000)]})
    hours = int(to[:2])
    period = {"from": "2026-06-01T00:00:00Z", "to": f"2026-06-0{1 + hours // 24}T{hours % 24:02}:00:00Z"}

    told = (await client.get("/v1/social/engagement", params=period)).json()

    assert told["per_day"] == {"percent": percent, "posts": 1}


@pytest.mark.parametrize("field", ["measured_at", "posted_at"])
async def test_a_measurement_of_the_future_is_refused(client: httpx.AsyncClient, field: str) -> None:
    """It would stand before each one that is made until then."""
    late = a_post("1", engagements=9) | {field: "2026-06-10T13:02:00Z"}
    refused = await client.post("/v1/social/posts", json={"posts": [a_post("0", engagements=1), late]})

    assert (refused.status_code, refused.json()["code"]) == (422, "time_in_future")
    assert refused.json()["errors"][0]["pointer"] == f"/posts/1/{field}"
    soon = a_post("1", engagements=9) | {field: "2026-06-10T13:00:30Z"}  # a clock that is a little ahead
    assert (await client.post("/v1/social/posts", json={"posts": [soon]})).json()["written"] == 1
    again = a_post("1", engagements=12, posted_at="2026-06-10T13:00:00Z")
    assert (await client.post("/v1/social/posts", json={"posts": [again]})).json()["written"] == 1


async def test_an_earlier_measurement_never_replaces_a_later_one(client: httpx.AsyncClient) -> None:
    for measured, engagements in (("2026-06-05T00:00:00Z", 50), ("2026-06-04T00:00:00Z", 10)):
        post_ = a_post("1", engagements=engagements, measured_at=measured, reach=100)
        await client.post("/v1/social/posts", json={"posts": [post_]})
    assert (await client.get("/v1/social/engagement")).json()["engagements"] == 50


async def test_a_post_is_counted_one_way_or_the_other(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/social/posts", json={"posts": [a_post("1", engagements=1, figures={})]})
    assert answer.status_code == 422
