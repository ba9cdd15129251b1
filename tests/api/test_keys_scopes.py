"""G22: keys see only their scope. Made from the OpenAPI document, so a new route is tested without anybody's doing."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import httpx
import pytest

from database import keys
from database.session import Database
from domain.keys import KeyKind, Scope
from tests.api.conftest import ApiServer
from tests.api.toy import make_key
from tests.factories import NOON

LOYALTY = ("challenges", "contests", "coupons", "loyalty", "points", "programmes", "referrals", "rewards", "sharing")
SCOPES_OF_TAG = {
    **dict.fromkeys(LOYALTY, (Scope.LOYALTY_READ, Scope.LOYALTY_WRITE)),
    "customers": (Scope.CUSTOMERS_READ, Scope.CUSTOMERS_WRITE),
    "events": (Scope.EVENTS_WRITE, Scope.EVENTS_WRITE),
    "journeys": (Scope.JOURNEYS_READ, Scope.JOURNEYS_WRITE),
    "messages": (Scope.MESSAGES_READ, None),
    "runs": (Scope.JOURNEYS_READ, Scope.JOURNEYS_WRITE),
    "settings": (Scope.SETTINGS_READ, Scope.SETTINGS_WRITE),
    "templates": (Scope.TEMPLATES_READ, Scope.TEMPLATES_WRITE),
}
"""What a key needs to read and to change things, by the tag of the operation."""

FOR_EVERYBODY = {
    *("GET /livez", "GET /readyz", "GET /metrics"),  # operators' machines, on the inner network
    *("GET /v1/projects/{write_key}/settings", "GET /sourceConfig"),  # browsers: the write key is in the address
    *("GET /c/{token}", "GET /o/{token}", "GET /v/{token}", "GET /u/{token}", "POST /u/{token}"),  # a token is the key
    *("GET /u/{token}/confirm", "POST /u/{token}/confirm"),  # and here
    *("GET /contests/{contest}/proof", "GET /contests/{contest}/entries.txt"),  # made for everybody to check
    *("POST /v1/hooks/sendgrid", "POST /v1/hooks/meta"),  # signed by the provider
    "GET /v1/hooks/meta",  # whoever asks knows the verify token
    *("GET /r/{token}", "GET /s/{token}"),  # links that customers hand on
    *("GET /inbox", "GET /inbox/{message_id}", "GET /inbox/{message_id}/html"),  # development only
}
ONLY_READS = {
    *("POST /v1/journeys/{key}/simulate", "POST /v1/templates/{key}/preview", "POST /v1/coupons/validate"),
    *("POST /v1/programmes/{key}/preview", "POST /v1/programmes/{key}/dry-run"),
    *("POST /v1/programmes/{key}/tiers/dry-run", "POST /v1/challenges/{key}/dry-run"),
}
EVENT = {"userId": "nobody", "event": "Page Viewed", "groupId": "g", "previousId": "p", "batch": []}
"""A body for each of the calls that take events: they find a key in the body too, so they read it first."""
IDS = {
    "suppression_id",
    "run_id",
    "message_id",
    "erasure_id",
    "referral_id",
    "submission_id",
    "hold_id",
    "redemption_id",
}


class Operation(NamedTuple):
    """One operation of the document, with a path that leads nowhere."""

    name: str
    method: str
    path: str
    tag: str
    is_guarded: bool

    @property
    def scope(self) -> Scope | None:
        """The scope that it should ask for."""
        reading, writing = SCOPES_OF_TAG[self.tag]
        return reading if self.method == "GET" or self.name in ONLY_READS else writing


@pytest.fixture
async def found(client: httpx.AsyncClient) -> list[Operation]:
    document: dict[str, Any] = (await client.get("/openapi.json")).json()
    return [
        Operation(f"{method.upper()} {path}", method.upper(), _somewhere(path), told["tags"][0], "security" in told)
        for path, methods in document["paths"].items()
        for method, told in methods.items()
    ]


def _somewhere(path: str) -> str:
    def value(match: re.Match[str]) -> str:
        return "019a0000-0000-7000-8000-000000000000" if match[1] in IDS else "1" if match[1] == "version" else "nobody"

    return re.sub(r"{(\w+)}", value, path)


async def status_of(client: httpx.AsyncClient, operation: Operation, key: str | None) -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {key}"} if key else {"Authorization": ""}
    body = EVENT if operation.tag == "events" else None
    answer = await client.request(operation.method, operation.path, headers=headers, json=body)
    is_problem = answer.headers.get("content-type") == "application/problem+json"
    return answer.status_code, answer.json()["code"] if is_problem else ""


async def test_only_these_operations_need_no_key(found: list[Operation]) -> None:
    assert {operation.name for operation in found if not operation.is_guarded} == FOR_EVERYBODY


async def test_no_operation_answers_without_a_good_key(
    client: httpx.AsyncClient, database: Database, found: list[Operation]
) -> None:
    revoked = await make_key(database, "revoked", KeyKind.SECRET, Scope.ADMIN)
    async with database.transaction() as session:
        await keys.revoke(session, revoked.split("_")[1], NOON)
    forged = revoked[:-7] + ("A" if revoked[-7] != "A" else "B") + revoked[-6:]

    for operation in (each for each in found if each.is_guarded):
        for key in (None, "nonsense", forged, revoked):
            status, code = await status_of(client, operation, key)
            assert (status, code.split("_")[0]) == (401, "key"), (operation.name, key)


async def test_each_operation_asks_for_exactly_its_scope(
    client: httpx.AsyncClient, database: Database, found: list[Operation]
) -> None:
    made = {scope: await make_key(database, f"only {scope}", KeyKind.SECRET, scope) for scope in Scope}

    for operation in (each for each in found if each.is_guarded):
        wanted = operation.scope
        assert wanted is not None, operation.name
        reaching = {wanted, Scope.ADMIN} | {each for each in Scope if each == wanted.replace(":read", ":write")}
        allowed = {scope for scope, key in made.items() if (await status_of(client, operation, key))[0] != 403}
        assert allowed == reaching, operation.name


async def test_a_browser_key_may_post_behaviour_and_nothing_else(
    client: httpx.AsyncClient, api_server: ApiServer, found: list[Operation]
) -> None:
    for operation in (each for each in found if each.is_guarded):
        status, code = await status_of(client, operation, api_server.browser_key)
        assert (status == 403) is (operation.tag != "events"), (operation.name, status, code)


async def test_a_refused_request_learns_nothing_of_what_there_is(
    client: httpx.AsyncClient, database: Database, found: list[Operation]
) -> None:
    key = await make_key(database, "events only", KeyKind.SECRET, Scope.EVENTS_WRITE)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    for operation in (each for each in found if each.is_guarded and each.tag != "events"):
        answer = await client.request(operation.method, operation.path, headers=headers, content=b"{ not json")
        assert answer.status_code in (400, 403), operation.name
        assert answer.json()["code"] in ("malformed", "scope_missing"), operation.name
