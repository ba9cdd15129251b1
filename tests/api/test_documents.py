"""The life cycle of documents, on a toy kind: drafts, checks, versions, states, tags, and two people at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, ClassVar, Self

import httpx
import pytest
from pydantic import Field, model_validator
from sqlalchemy import select

from api.app import create_app
from api.dependencies import ApiDependencies
from api.documents import PublishRequest, document_router
from database.audit import AuditEntry
from database.documents import change_number, live_documents
from database.session import Database, ReadSession, WriteSession
from domain.document import Document
from domain.documents import Change, Planned, Publication, Published
from domain.durations import DurationText
from domain.findings import Finding, Severity
from domain.keys import KeyKind, Scope
from tests.api.toy import make_key


class Verse(Document):
    """A line of a poem, sung or spoken."""

    line: str = Field(max_length=80)
    pause: DurationText | None = None
    sung: bool = False
    spoken: bool = False

    @model_validator(mode="after")
    def _is_sung_or_spoken(self) -> Self:
        if self.sung and self.spoken:
            raise ValueError("a line is sung or spoken, not both")
        return self


class Poem(Document):
    """A document that nobody needs but these tests."""

    poem: str
    name: str | None = None
    verses: list[Verse] = Field(min_length=1)


class PoemKind:
    """An empty line is an error, a short poem worth a warning; publishing counts the lines."""

    name: ClassVar[str] = "poem"
    plural: ClassVar[str] = "poems"
    model: ClassVar[type[Document]] = Poem
    changes: ClassVar[frozenset[Change]] = frozenset(Change)
    changes_nature: ClassVar[bool] = False
    changed_calls: ClassVar[list[str]] = []

    def __init__(self, dependencies: ApiDependencies) -> None:
        self.now = dependencies.now

    async def check(self, session: ReadSession, key: str, draft: Document) -> Sequence[Finding]:
        assert isinstance(draft, Poem)
        empty = [i for i, verse in enumerate(draft.verses) if not verse.line]
        errors = [Finding(code="empty", pointer=f"/verses/{i}/line", message="Write a line.") for i in empty]
        short = Finding(code="short", severity=Severity.WARNING, message="Two lines at least make a poem.")
        return [*errors, short] if len(draft.verses) < 2 else errors

    async def publish(
        self, session: WriteSession, publication: Publication, request: PublishRequest, as_of: datetime
    ) -> Published | Planned:
        if request.dry_run:
            return Planned({"plan": "p1", "version": publication.version, "changes": ["lines"], "in_flight": []})
        return Published({**publication.document, "lines": len(publication.document["verses"])})

    async def changed(self, session: WriteSession, key: str, change: Change, as_of: datetime) -> None:
        self.changed_calls.append(f"{change} {key}")


LIST = "http://api.test/v1/poems"
ODE = {"verses": [{"line": "O wild West Wind"}, {"line": "thou breath of Autumn's being"}]}


@pytest.fixture
async def poems(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(ApiDependencies(database=database))
    app.include_router(document_router(PoemKind, read=Scope.TEMPLATES_READ, write=Scope.TEMPLATES_WRITE))
    key = await make_key(database, "editor", KeyKind.SECRET, Scope.TEMPLATES_WRITE)
    headers = {"Authorization": f"Bearer {key}"}
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test/v1/poems", headers=headers) as client:
        yield client


async def save(poems: httpx.AsyncClient, document: Any = ODE, key: str = "ode", **headers: str) -> httpx.Response:
    return await poems.put(f"/{key}", json=document, headers=headers)


async def test_saving_keeps_the_draft_and_answers_what_its_checks_find(poems: httpx.AsyncClient) -> None:
    faulty = {"name": "Ode", "verses": [{"line": ""}]}

    answer = await save(poems, faulty)

    assert answer.status_code == 200
    assert answer.json() | {"etag": "", "created_at": "", "updated_at": ""} == {
        "key": "ode",
        "name": "Ode",
        "state": "draft",
        "version": None,
        "etag": "",
        "created_at": "",
        "updated_at": "",
        "draft": {"poem": "ode", **faulty},
        "findings": [
            {
                "code": "empty",
                "severity": "error",
                "step": None,
                "pointer": "/verses/0/line",
                "message": "Write a line.",
            },
            {
                "code": "short",
                "severity": "warning",
                "step": None,
                "pointer": "",
                "message": "Two lines at least make a poem.",
            },
        ],
    }
    assert answer.headers["etag"] == f'"{answer.json()["etag"]}"'
    assert (await poems.get("/ode")).json()["draft"] == {"poem": "ode", **faulty}


@pytest.mark.parametrize(
    ("document", "pointers"),
    [
        ({"verses": [{"line": "a", "rhyme": "b"}]}, ["/verses/0/rhyme"]),
        ({"verses": [{"line": "a"}, {}], "name": 3}, ["/name", "/verses/1/line"]),
        ({"verses": [{"line": "a", "pause": "a while"}]}, ["/verses/0/pause"]),
        ({}, ["/verses"]),
    ],
)
async def test_a_draft_of_another_shape_is_kept_with_findings_and_cannot_be_published(
    poems: httpx.AsyncClient, document: Any, pointers: list[str]
) -> None:
    answer = await save(poems, document)

    assert answer.status_code == 200
    found = [(finding["code"], finding["pointer"]) for finding in answer.json()["findings"]]
    assert found == [("invalid", pointer) for pointer in pointers]
    assert (await poems.get("/ode")).json()["draft"] == {"poem": "ode", **document}
    assert (await poems.post("/ode/check")).json()["findings"] == answer.json()["findings"]
    refused = await poems.post("/ode/publish")
    assert (refused.status_code, refused.json()["code"]) == (409, "checks_failed")
    assert refused.json()["findings"] == answer.json()["findings"]
    assert (await save(poems, ODE)).json()["findings"] == (await save(poems, {"poem": "ode", **ODE})).json()["findings"]
    assert (await poems.post("/ode/publish")).json()["version"] == 1


async def test_a_draft_that_is_no_object_is_refused(poems: httpx.AsyncClient) -> None:
    answer = await save(poems, [])

    assert (answer.status_code, [fault["pointer"] for fault in answer.json()["errors"]]) == (422, [""])
    assert (await poems.get("/ode")).status_code == 404


async def test_a_draft_that_contradicts_itself_is_kept_with_a_finding_and_cannot_be_published(
    poems: httpx.AsyncClient,
) -> None:
    answer = await save(poems, {"verses": [{"line": "la", "sung": True, "spoken": True}]})

    (finding,) = answer.json()["findings"]
    assert (finding["code"], finding["pointer"]) == ("contradiction", "/verses/0")
    assert (await poems.post("/ode/publish")).json()["code"] == "checks_failed"


@pytest.mark.parametrize("media_type", ["application/yaml", "text/yaml; charset=utf-8"])
async def test_yaml_is_taken_like_json(poems: httpx.AsyncClient, media_type: str) -> None:
    text = "name: on\nverses:\n  - line: no\n  - {line: '10:00', pause: 1h}\n"

    answer = await poems.put("/ode", content=text, headers={"Content-Type": media_type})

    assert answer.json()["draft"]["verses"] == [{"line": "no"}, {"line": "10:00", "pause": "1h"}]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ("a: [", 400),
        ("1: 2", 400),
        ("a: &x 1\nb: *x", 400),
        ("verses: 99999999999999999999999999", 400),
        ("[" * 10_000, 400),
        ("- a", 422),
        ('name: "\\0"', 422),
        ("x" * 300_000, 413),
    ],
)
async def test_yaml_that_json_could_not_say_is_refused(poems: httpx.AsyncClient, content: str, status: int) -> None:
    answer = await poems.put("/ode", content=content, headers={"Content-Type": "application/yaml"})

    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


async def test_a_document_may_repeat_its_key_but_not_say_another(poems: httpx.AsyncClient) -> None:
    assert (await save(poems, {"poem": "ode", **ODE})).status_code == 200

    answer = await save(poems, {"poem": "elegy", **ODE})

    assert (answer.status_code, answer.json()["code"]) == (409, "key_mismatch")


async def test_checking_saves_nothing(poems: httpx.AsyncClient) -> None:
    answer = await poems.post("/ode/check", json={"verses": [{"line": ""}]})

    assert (answer.status_code, answer.json()["ok"]) == (200, False)
    assert (await poems.get("/ode")).status_code == 404


async def test_checking_without_a_body_checks_what_is_saved(poems: httpx.AsyncClient) -> None:
    assert (await poems.post("/ode/check")).status_code == 404
    await save(poems)

    assert (await poems.post("/ode/check")).json() == {"ok": True, "findings": []}


async def test_publishing_makes_an_immutable_version_that_later_drafts_do_not_touch(
    poems: httpx.AsyncClient, database: Database
) -> None:
    await save(poems)
    first = await poems.post("/ode/publish", json={})
    await save(poems, {"verses": [{"line": "one"}, {"line": "two"}, {"line": "three"}]})
    second = await poems.post("/ode/publish")

    assert [(answer.status_code, answer.json()["version"]) for answer in (first, second)] == [(200, 1), (200, 2)]
    assert first.json()["state"] == "live"
    assert (await poems.get("/ode/versions/1")).json()["document"] == {"poem": "ode", **ODE, "lines": 2}
    listed = (await poems.get("/ode/versions")).json()
    assert [version["version"] for version in listed["data"]] == [2, 1]
    assert (await poems.get("/ode/versions/3")).status_code == 404
    async with database.read() as session:
        assert [(each.key, each.version) for each in await live_documents(session, "poem")] == [("ode", 2)]
        assert await change_number(session, "poem") == 2


async def test_a_draft_with_errors_is_not_published_and_the_refusal_says_why(poems: httpx.AsyncClient) -> None:
    await save(poems, {"verses": [{"line": ""}, {"line": "b"}]})

    answer = await poems.post("/ode/publish")

    assert (answer.status_code, answer.json()["code"]) == (409, "checks_failed")
    assert [finding["pointer"] for finding in answer.json()["findings"]] == ["/verses/0/line"]
    assert (await poems.get("/ode")).json()["state"] == "draft"


async def test_a_warning_does_not_keep_from_publishing(poems: httpx.AsyncClient) -> None:
    await save(poems, {"verses": [{"line": "short"}]})

    answer = await poems.post("/ode/publish")

    assert (answer.json()["version"], [finding["code"] for finding in answer.json()["findings"]]) == (1, ["short"])


async def test_a_dry_run_answers_the_plan_and_publishes_nothing(poems: httpx.AsyncClient) -> None:
    await save(poems)

    answer = await poems.post("/ode/publish", json={"dry_run": True})

    assert answer.json() == {"plan": "p1", "version": 1, "changes": ["lines"], "in_flight": []}
    assert (await poems.get("/ode")).json()["state"] == "draft"


async def test_pause_resume_and_archive_follow_each_other_and_repeat_without_effect(poems: httpx.AsyncClient) -> None:
    PoemKind.changed_calls.clear()
    await save(poems)
    await poems.post("/ode/publish")

    states = [
        (await poems.post(f"/ode/{change}")).json()["state"] for change in ("pause", "pause", "resume", "archive")
    ]

    assert states == ["paused", "paused", "live", "archived"]
    assert PoemKind.changed_calls == ["pause ode", "resume ode", "archive ode"]


@pytest.mark.parametrize("change", ["pause", "resume"])
async def test_a_draft_that_was_never_published_cannot_be_paused_or_resumed(
    poems: httpx.AsyncClient, change: str
) -> None:
    await save(poems)

    assert (await poems.post(f"/ode/{change}")).status_code == 409


async def test_a_paused_document_stays_paused_when_it_is_mended(poems: httpx.AsyncClient) -> None:
    await save(poems)
    await poems.post("/ode/publish")
    await poems.post("/ode/pause")

    answer = await poems.post("/ode/publish")

    assert (answer.json()["state"], answer.json()["version"]) == ("paused", 2)


async def test_a_change_with_an_old_etag_is_refused(poems: httpx.AsyncClient) -> None:
    old = (await save(poems)).headers["etag"]
    new = (await save(poems, {**ODE, "name": "Ode"}, **{"If-Match": old})).headers["etag"]

    refused = await save(poems, ODE, **{"If-Match": old})

    assert (refused.status_code, refused.json()["code"]) == (412, "precondition_failed")
    assert (await poems.post("/ode/publish", headers={"If-Match": old})).status_code == 412
    assert (await poems.post("/ode/publish", headers={"If-Match": new})).status_code == 200
    assert (await poems.post("/ode/archive", headers={"If-Match": new})).status_code == 412


async def test_if_match_star_asks_only_that_the_document_exists(poems: httpx.AsyncClient) -> None:
    assert (await save(poems, ODE, **{"If-Match": "*"})).status_code == 412
    await save(poems)

    assert (await save(poems, ODE, **{"If-Match": "*"})).status_code == 200


async def test_of_two_editors_who_read_the_same_state_one_wins(poems: httpx.AsyncClient) -> None:
    etag = (await save(poems)).headers["etag"]

    answers = await asyncio.gather(*(save(poems, {**ODE, "name": f"{n}"}, **{"If-Match": etag}) for n in range(8)))

    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7


async def test_many_publishers_at_once_make_as_many_versions(poems: httpx.AsyncClient) -> None:
    await save(poems)

    answers = await asyncio.gather(*(poems.post("/ode/publish") for _ in range(8)))

    assert sorted(answer.json()["version"] for answer in answers) == list(range(1, 9))


async def test_publishing_again_with_the_same_idempotency_key_makes_no_second_version(
    poems: httpx.AsyncClient,
) -> None:
    await save(poems)

    tries = [await poems.post("/ode/publish", headers={"Idempotency-Key": "once"}) for _ in range(2)]

    assert [answer.json()["version"] for answer in tries] == [1, 1]


async def test_first_drafts_saved_at_once_leave_one_document(poems: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(save(poems, {**ODE, "name": f"{n}"}) for n in range(8)))

    assert {answer.status_code for answer in answers} == {200}
    assert len((await poems.get(LIST)).json()["data"]) == 1


async def test_a_list_is_paged_by_key_while_others_add_documents(poems: httpx.AsyncClient) -> None:
    for key in ("bb", "dd", "ff", "hh"):
        await save(poems, key=key)
    await poems.post("/dd/publish")

    first = (await poems.get(LIST, params={"limit": 2})).json()
    for key in ("aa", "ee"):
        await save(poems, key=key)
    rest = (await poems.get(LIST, params={"limit": 9, "cursor": first["next_cursor"]})).json()

    assert [item["key"] for item in first["data"]] == ["bb", "dd"]
    assert ([item["key"] for item in rest["data"]], rest["next_cursor"]) == (["ee", "ff", "hh"], None)
    assert [item["key"] for item in (await poems.get(LIST, params={"state": "live"})).json()["data"]] == ["dd"]


async def test_every_change_is_in_the_audit_log(poems: httpx.AsyncClient, database: Database) -> None:
    await save(poems)
    await poems.post("/ode/publish")
    await poems.post("/ode/pause")

    async with database.read() as session:
        entries = (await session.execute(select(AuditEntry).order_by(AuditEntry.id))).scalars().all()
    assert [(entry.action, entry.target) for entry in entries] == [
        ("save", "poem/ode"),
        ("publish", "poem/ode"),
        ("pause", "poem/ode"),
    ]


@pytest.mark.parametrize("key", ["Ode", "o", "1ode", "o" * 64, "ode%2Fb"])
async def test_a_key_is_lower_case_letters_digits_and_hyphens(poems: httpx.AsyncClient, key: str) -> None:
    assert (await save(poems, key=key)).status_code == 422
