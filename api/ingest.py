"""Taking events in by Segment's HTTP tracking API: authenticate, read, append, commit, answer 200. Nothing else.

What the calls may say is api/segment.py; how much of it, api/limits.py. Content-Type and Content-Encoding are ignored:
real clients lie in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import orjson
from fastapi import APIRouter, Request, Response
from prometheus_client import Counter

from api import ingest_schema
from api.auth import get_key_ring, presented_key
from api.batch_body import BatchBody, Unreadable, find_write_key, parse_batch, parse_object
from api.bell import Bell
from api.dependencies import get_as_of, get_dependencies
from api.limits import read_body
from api.segment import Delivery, read_context, read_enter, read_message, read_sent_at
from database.erasures import erased_ids
from database.events import append
from database.session import WriteSession
from domain.errors import Conflict, Forbidden, PerennialError, TooLarge
from domain.events import EventKind, NewEvent
from domain.keys import Scope, StoredKey
from domain.misread import misread

router = APIRouter(tags=["events"])

SINGLE_PATHS = {
    f"/v1/{name}": kind
    for kind, names in {
        EventKind.TRACK: ("track", "t"),
        EventKind.IDENTIFY: ("identify", "i"),
        EventKind.PAGE: ("page", "p"),
        EventKind.SCREEN: ("screen", "s"),
        EventKind.GROUP: ("group", "g"),
        EventKind.ALIAS: ("alias", "a"),
    }.items()
    for name in names
}
IMPORT_PATH = "/v1/import"
BEACON_PATH = "/beacon/v1/batch"
"""RudderStack's browser SDK with `useBeacon`. A beacon has no headers of its own, so its key is the parameter
`writeKey`; nobody reads the answer.
"""
BATCH_PATHS = ("/v1/batch", "/v1/b", IMPORT_PATH, BEACON_PATH)
METRICS_PATH = "/v1/m"
INGEST_PATHS = frozenset({*SINGLE_PATHS, *BATCH_PATHS, METRICS_PATH})

_received = Counter("perennial_events_received", "Events at ingest, by what became of them", ["result"])
_rejected = Counter("perennial_events_rejected", "Events rejected at ingest, by code", ["code"])
_misread = Counter("perennial_events_misread", "Events taken with something that nobody can read, by code", ["code"])


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why one item of a batch was not taken, or what of it cannot be read."""

    index: int
    code: str
    message: str


REUSED = Rejection(0, "message_id_reused", "this messageId was taken before with other content; the first is kept")

ERASED = Rejection(0, "erased_id", "this customer was erased: only a secret key can name the id again")


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of the events of a request, as positions."""

    accepted: Sequence[int]
    duplicates: Sequence[int]
    conflicts: Sequence[int]
    erased: Sequence[int]  # of a browser, under an erased id and no other


async def take_one(request: Request) -> Response:
    """One event. Its kind is the path's; what is wrong with it is answered as a problem."""
    key = await _key_beside_body(request)
    body = await _body(request)
    message = parse_object(body)
    key = key or await _identify(request, message.get("writeKey"))
    delivery = _delivery(request, key, body)
    try:
        event = read_message(message, delivery, SINGLE_PATHS[request.scope["path"]])
    except PerennialError as refusal:
        _count_rejected(refusal.code)
        raise
    taken = await _append(request, [event])
    if taken.erased:
        raise Forbidden(ERASED.message, code=ERASED.code)
    if taken.conflicts:
        raise Conflict(REUSED.message, code=REUSED.code)
    return _answer({"success": True, **_warnings([(0, event)])})


async def take_batch(request: Request) -> Response:
    """A batch. Each item is taken or rejected on its own; the answer is 200 and says which."""
    key = await _key_beside_body(request)
    body = await _body(request)
    key = key or await _identify(request, find_write_key(body))
    batch = parse_batch(body)
    most = get_dependencies(request).ingest.batch_events
    if len(batch.items) > most:
        raise TooLarge(f"a batch may have {most} events", code="too_many_events")
    events, rejected = _read_items(batch, _delivery(request, key, body, batch))
    result = await _append(request, [event for _, event in events])
    rejected += [replace(REUSED, index=events[position][0]) for position in result.conflicts]
    rejected += [replace(ERASED, index=events[position][0]) for position in result.erased]
    return _answer(
        {
            "success": True,
            "accepted": len(result.accepted),
            "duplicates": len(result.duplicates),
            "rejected": sorted(rejected, key=lambda rejection: rejection.index),
            **_warnings([events[position] for position in (*result.accepted, *result.duplicates)]),
        }
    )


async def take_metrics() -> Response:
    """Segment's browser SDK reports on itself here; we thank it and keep nothing."""
    return _answer({"success": True})


def _read_items(batch: BatchBody, delivery: Delivery) -> tuple[list[tuple[int, NewEvent]], list[Rejection]]:
    """The good events with their places in the batch, and the bad ones."""
    events: list[tuple[int, NewEvent]] = []
    rejected: list[Rejection] = []
    for index, item in enumerate(batch.items):
        if isinstance(item, Unreadable):
            rejected.append(Rejection(index, "invalid_json", f"this event is not JSON: {item.reason}"))
            continue
        try:
            events.append((index, read_message(item, delivery)))
        except PerennialError as refusal:
            rejected.append(Rejection(index, refusal.code, refusal.detail))
    for rejection in rejected:
        _count_rejected(rejection.code)
    return events, rejected


def _delivery(request: Request, key: StoredKey, body: bytes, batch: BatchBody | None = None) -> Delivery:
    """What the messages share."""
    is_history = request.scope["path"] == IMPORT_PATH
    return Delivery(
        source=key.source,
        trusted=key.is_trusted,
        received_at=get_as_of(request),
        max_bytes=get_dependencies(request).ingest.event_bytes,
        sent_at=read_sent_at(batch.rest) if batch else None,
        is_history=is_history,
        enters=is_history and batch is not None and read_enter(batch.rest),
        context=read_context(batch.rest) if batch else {},
        truncate_ip=get_dependencies(request).truncate_ip,
        may_hold_nul=b"\\u0000" in body,
    )


async def _key_beside_body(request: Request) -> StoredKey | None:
    written = presented_key(request)
    if written is None and request.scope["path"] == BEACON_PATH:
        written = request.query_params.get("writeKey")
    return await _identify(request, written) if written else None


async def _identify(request: Request, written: object) -> StoredKey:
    """The write key; a secret key with `events:write` is one too."""
    key = await get_key_ring(request).identify(written if isinstance(written, str) else None, remember=True)
    if not key.may(Scope.EVENTS_WRITE):
        raise Forbidden(f"this key lacks the scope {Scope.EVENTS_WRITE}", code="scope_missing")
    return key


async def _body(request: Request) -> bytes:
    body = await read_body(request.stream(), get_dependencies(request).ingest.body_bytes)
    return body.removeprefix(b"\xef\xbb\xbf")  # a byte order mark


async def _append(request: Request, events: Sequence[NewEvent]) -> Taken:
    """Commit, then let the routers know."""
    async with get_dependencies(request).intake.transaction() as session:
        erased = await _of_the_erased(session, events)
        kept = [position for position in range(len(events)) if position not in erased]
        result = await append(session, [events[position] for position in kept], announce=False)
    _received.labels("accepted").inc(len(result.accepted))
    _received.labels("duplicate").inc(len(result.duplicates))
    for code, count in ((REUSED.code, len(result.conflicts)), (ERASED.code, len(erased))):
        for _ in range(count):
            _count_rejected(code)
    bell: Bell = request.app.state.bell
    if result.accepted:
        bell.ring()
    return Taken(
        accepted=[kept[position] for position in result.accepted],
        duplicates=[kept[position] for position in result.duplicates],
        conflicts=[kept[position] for position in result.conflicts],
        erased=sorted(erased),
    )


async def _of_the_erased(session: WriteSession, events: Sequence[NewEvent]) -> set[int]:
    """Events that would bring an erased person back by a browser's word alone. Those with an anonymous id are taken:
    they stay with it. Costs nothing unless a browser names customers without one, which no SDK does.
    """
    named = {
        position: event.user_id
        for position, event in enumerate(events)
        if event.user_id is not None and event.anonymous_id is None and not event.trusted
    }
    erased = await erased_ids(session, set(named.values()))
    return {position for position, user_id in named.items() if user_id in erased}


def _warnings(events: Iterable[tuple[int, NewEvent]]) -> dict[str, object]:
    """What was taken and counts nothing, since it cannot be read; nothing at all where everything can."""
    found = [
        Rejection(index, each.code, each.message)
        for index, event in events
        for each in misread(event.name, event.properties)
    ]
    for warning in found:
        _misread.labels(warning.code).inc()
    return {"warnings": sorted(found, key=lambda warning: warning.index)} if found else {}


def _count_rejected(code: str) -> None:
    _received.labels("rejected").inc()
    _rejected.labels(code).inc()


def _answer(content: dict[str, object]) -> Response:
    """Exactly 200: RudderStack's Python client sends again after any other answer, 202 and 204 included."""
    return Response(orjson.dumps(content), media_type="application/json")


for _path, _kind in SINGLE_PATHS.items():
    router.add_api_route(
        _path,
        take_one,
        methods=["POST"],
        operation_id=f"take_{_kind}",
        summary=f"One {_kind} event",
        include_in_schema=_path == f"/v1/{_kind}",
        responses=ingest_schema.SINGLE_ANSWER,
        openapi_extra=ingest_schema.single_call(_kind),
        response_class=Response,
    )
for _path in BATCH_PATHS:
    router.add_api_route(
        _path,
        take_batch,
        methods=["POST"],
        operation_id=f"take_{_path.rpartition('/')[2]}",
        summary="A batch of history, whose times are believed" if _path == IMPORT_PATH else "A batch of events",
        include_in_schema=_path in ("/v1/batch", IMPORT_PATH),
        responses=ingest_schema.BATCH_ANSWER,
        openapi_extra=ingest_schema.BATCH_CALL,
        response_class=Response,
    )
router.add_api_route(METRICS_PATH, take_metrics, methods=["POST"], include_in_schema=False)
