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


async def test_an_earlier_measurement_never_replaces_a_later_one(client: httpx.AsyncClient) -> None:
    for measured, engagements in (("2026-06-05T00:00:00Z", 50), ("2026-06-04T00:00:00Z", 10)):
        post_ = a_post("1", engagements=engagements, measured_at=measured, reach=100)
        await client.post("/v1/social/posts", json={"posts": [post_]})
    assert (await client.get("/v1/social/engagement")).json()["engagements"] == 50


async def test_a_post_is_counted_one_way_or_the_other(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/social/posts", json={"posts": [a_post("1", engagements=1, figures={})]})
    assert answer.status_code == 422
