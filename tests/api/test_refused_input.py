"""What was refused is neither stored nor logged: no word of it is found in any table, nor in the logs."""

from __future__ import annotations

import base64
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import structlog
from sqlalchemy import text

from api.dependencies import ApiDependencies
from database.session import Database
from database.tables import metadata
from perennial.logging import configure
from perennial.settings import LogFormat
from tests.api.conftest import ApiServer
from tests.factories import make_customer

CANARY = "Kanarienvogel-4711"
NOBODY = "01930a8e-7c1c-7b6e-b4a4-0d6f3a2b9c11"
WRONG = {"name": CANARY, CANARY: CANARY}

REFUSED: list[tuple[str, str, Any]] = [  # method, path, body: JSON, or text as it is
    ("POST", "/v1/track", {"userId": CANARY, "properties": WRONG}),
    ("POST", "/v1/track", {"event": "Seen", "properties": WRONG}),
    ("POST", "/v1/track", {"event": "Seen", "userId": CANARY, "properties": {CANARY: "x" * 40_000}}),
    ("POST", "/v1/track", f'{{"event": "{CANARY}", "userId": '),
    ("POST", "/v1/batch", {"batch": [{"type": CANARY, "userId": CANARY}, CANARY, {"type": "track", "event": CANARY}]}),
    ("POST", "/v1/import", {"batch": [], "enter": CANARY}),
    ("POST", "/v1/customers/import", f'{{"user_id": "", "name": "{CANARY}"}}\n{{"name": {CANARY}}}\n["{CANARY}"]\n'),
    ("POST", "/v1/customers/import", json.dumps({"user_id": CANARY, "consent": {CANARY: CANARY}})),
    ("POST", "/v1/customers/import", json.dumps({"user_id": CANARY, "timestamp": CANARY})),
    ("POST", "/v1/customers/import", f"user_id,age:number\nbob,{CANARY}\n"),
    ("PUT", "/v1/settings", {"zone": CANARY, "currency": CANARY, CANARY: CANARY}),
    ("PUT", "/v1/customers/ann/consent", {"state": CANARY, "text": CANARY, CANARY: CANARY}),
    ("PATCH", "/v1/customers/ann", {"traits": CANARY, CANARY: CANARY}),
    ("PUT", "/v1/customers/ann/restriction", {"reason": CANARY * 100}),
    ("PUT", f"/v1/customers/{CANARY}/restriction", {"reason": CANARY}),
    ("POST", "/v1/suppressions", {"address": CANARY, "reason": CANARY, "note": CANARY}),
    ("POST", "/v1/suppressions", {"address": f"{CANARY}@example.com", "reason": "erased", "note": CANARY}),
    ("POST", "/v1/suppressions/import", f'{{"address": "{CANARY}"}}\n["{CANARY}"]\n{CANARY}\n'),
    ("POST", "/v1/suppressions/import", json.dumps({"address": f"{CANARY}@example.com", "reason": CANARY})),
    ("POST", "/v1/suppressions/import", json.dumps({"address": f"{CANARY}@example.com", "at": CANARY})),
    ("POST", f"/v1/suppressions/{NOBODY}/release", {"reason": CANARY}),
    ("GET", f"/v1/suppressions?address=ann@example.com&reason={CANARY}", None),
    ("POST", f"/v1/runs/{NOBODY}/exit", {"reason": CANARY}),
    ("POST", "/v1/customers/ann/points/adjust", {"points": CANARY, "reason": CANARY}),
    ("POST", "/v1/customers/ann/merge", {"from": CANARY}),
    ("PUT", "/v1/journeys/welcome", [{"journey": "welcome", "purpose": CANARY}]),
    ("PUT", "/v1/templates/hello", [{"template": "hello", "channel": CANARY, "html": CANARY}]),
    ("POST", "/v1/coupons/validate", {"code": CANARY, "customer_id": CANARY, CANARY: 1}),
    ("POST", "/v1/referrals/claim", {"code": CANARY, "referee": "ann", "signals": {"ip": CANARY}}),
    ("POST", "/v1/hooks/sendgrid", [{"event": "bounce", "email": CANARY, "reason": CANARY}]),
    ("POST", "/v1/hooks/meta", {"object": CANARY, "entry": [CANARY]}),
    ("GET", f"/c/{CANARY}", None),
    ("POST", f"/u/{CANARY}", f"action={CANARY}"),
    ("GET", f"/v1/customers/{CANARY}", None),
    ("DELETE", f"/v1/customers/{CANARY}", None),
    ("DELETE", f"/v1/visitors/{CANARY}", None),
    ("GET", f"/v1/runs/{CANARY}?cursor={CANARY}", None),
]


@pytest.fixture
def api_dependencies(database: Database) -> ApiDependencies:
    """An API that expects signed webhooks."""
    key = base64.b64encode(b"a key that nothing is signed with").decode()
    return ApiDependencies(database=database, sendgrid_webhook_key=key, meta_app_secret="secret", meta_verify_token="t")


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Everything that is logged meanwhile, at the lowest level."""
    root, stream = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers, root.level
    configure("DEBUG", LogFormat.JSON, process="api", stream=stream)
    yield stream
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


async def tables_with(database: Database, word: str) -> list[str]:
    """Tables with a row that holds the word, as text or within bytes."""
    found = []
    async with database.read() as session:
        for table in metadata.sorted_tables:
            rows = f'SELECT count(*) FROM "{table.name}" AS r WHERE r::text LIKE :word OR r::text LIKE :bytes'
            words = {"word": f"%{word}%", "bytes": f"%{word.encode().hex()}%"}
            if await session.scalar(text(rows), words):
                found.append(table.name)
    return found


@pytest.mark.parametrize("with_key", [False, True], ids=["bare", "with an idempotency key"])
async def test_nothing_that_was_refused_is_stored_or_logged(
    api_server: ApiServer, client: httpx.AsyncClient, database: Database, logged: io.StringIO, *, with_key: bool
) -> None:
    await make_customer(database, "ann", traits={"email": "ann@example.com"})

    for number, (method, path, body) in enumerate(REFUSED):
        headers = {"Idempotency-Key": f"try-{number}"} if with_key else {}
        if isinstance(body, str) and body.startswith("user_id,"):
            headers["Content-Type"] = "text/csv"
        content = None if body is None else body if isinstance(body, str) else json.dumps(body)
        answer = await client.request(method, path, content=content, headers=headers)
        assert answer.status_code < 500, (path, answer.text)
        took_nothing = answer.status_code >= 400 or '"accepted":0' in answer.text or '"imported":0' in answer.text
        assert took_nothing, (path, answer.text)

    assert await tables_with(database, CANARY) == []
    assert CANARY not in logged.getvalue()
