"""Idempotency-Key: the same key and the same request get the first answer again, whatever happened in between.

The key is claimed in the transaction of what the request does and the answer is stored there too, so one is never
without the other. A second request that comes while the first still runs tries again until it has ended, without a
connection in between. Refusals roll back, claim included, so the key may be tried afresh. Routes get all this from
`api.routing.ApiRoute`; nothing is left for them to do but `concerns(session, customer_id)` where the answer holds a
customer's data, so that erasing the customer finds it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from uuid import UUID

import orjson
from fastapi import Request, Response

from api.beforehand import name_occasion
from database import keys
from database.keys import IdempotencyKey
from database.session import WriteSession
from domain.errors import Conflict, IdempotencyMismatch, Malformed
from domain.keys import StoredKey

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
_LONGEST = 255
PATIENCE_SECONDS = 10.0
POLL_SECONDS = 0.1
_KEPT_HEADERS = ("content-type", "etag", "location")
_CONCERNS = "concerns_customer"


@dataclass(frozen=True, slots=True)
class Claim:
    """An idempotency key that this request holds until its transaction ends."""

    scope: str
    key: str


class InProgress(Exception):  # noqa: N818  # not an error: the route is tried again in a moment
    """Another request holds the key."""

    def refusal(self) -> Conflict:
        """What to say when that has taken too long."""
        detail = "the first request with this Idempotency-Key is still running"
        return Conflict(detail, code="idempotency_in_progress", retry_after=1)


class Answered(Exception):  # noqa: N818  # not an error: it carries the first answer past the route to the edge
    """The request was answered before; `answer` is that answer."""

    def __init__(self, answer: Response) -> None:
        super().__init__()
        self.answer = answer


def concerns(session: WriteSession, customer_id: UUID) -> None:
    """Say whose data the answer holds."""
    session.info[_CONCERNS] = customer_id


async def claim(session: WriteSession, request: Request, caller: StoredKey) -> Claim | None:
    """Hold the request's idempotency key, if it has one.

    Raises Answered when this very request was answered before, IdempotencyMismatch when another one was, InProgress
    while the first is running, Malformed for a key that is none.
    """
    key = _read_key(request)
    if key is None:
        return None
    fingerprint = await _fingerprint(request)
    name_occasion(session, hashlib.sha256(f"{caller.id}\n{key}\n".encode() + fingerprint).hexdigest())
    if not await keys.lock_idempotency_key(session, caller.id, key):
        raise InProgress
    earlier = await keys.claim_idempotency_key(session, caller.id, key, fingerprint)
    if earlier is None:
        return Claim(caller.id, key)
    if earlier.fingerprint != fingerprint:
        raise IdempotencyMismatch("this Idempotency-Key was used with another path or body; choose a new one")
    if earlier.status == keys.FORGOTTEN:
        detail = "this request was carried out before; its answer is no longer kept. Read what it changed"
        raise Conflict(detail, code="answer_forgotten")
    raise Answered(_again(earlier))


async def keep(session: WriteSession, claimed: Claim, answer: Response) -> None:
    """Store the answer under the claimed key."""
    await keys.keep_answer(
        session,
        claimed.scope,
        claimed.key,
        status=answer.status_code,
        headers={name: answer.headers[name] for name in _KEPT_HEADERS if name in answer.headers},
        body=bytes(answer.body),
        customer_id=session.info.get(_CONCERNS),
    )


def _read_key(request: Request) -> str | None:
    """The key, of which both written forms are taken: the draft's quoted string and the bare one of older clients."""
    if HEADER not in request.headers:
        return None
    written = request.headers[HEADER].strip()
    key = written[1:-1] if len(written) >= 2 and written[0] == written[-1] == '"' else written
    if not 1 <= len(key) <= _LONGEST or not key.isascii() or not key.isprintable():
        raise Malformed(
            f"{HEADER} must have 1 to {_LONGEST} visible ASCII characters", code="idempotency_key_malformed"
        )
    return key


async def _fingerprint(request: Request) -> bytes:
    """SHA-256 over what was asked: method, path, query and body."""
    asked = [request.method, request.scope["path"], request.url.query]
    return hashlib.sha256("\n".join(asked).encode() + b"\n" + _canonical(await request.body())).digest()


def _canonical(body: bytes) -> bytes:
    """JSON however its keys are ordered and spaced: who tries again may write it anew. Other bodies as they are."""
    try:
        return orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS)
    except ValueError:
        return body


def _again(earlier: IdempotencyKey) -> Response:
    return Response(earlier.body, status_code=earlier.status, headers={**earlier.headers, REPLAYED: "true"})
