"""Every error as a problem document (RFC 9457). This is the one place where errors become answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.limits import LimitReached
from database.outages import AWAY, is_cut_off, is_outage, sqlstate_of
from domain.errors import (
    FieldError,
    Forbidden,
    Invalid,
    Malformed,
    NotFound,
    PerennialError,
    TooLarge,
    TooSlow,
    Unauthorized,
    Unavailable,
)
from domain.fault_texts import fault_text
from domain.payload import escape_pointer
from domain.pointers import pointer_to

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
_MOST_ERRORS = 100
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_BY_STATUS: dict[int, type[PerennialError]] = {
    error.status: error for error in (Malformed, Unauthorized, Forbidden, NotFound, TooLarge, Invalid, Unavailable)
}
# A value that PostgreSQL cannot store at all: NUL, another broken character, a number out of range.
_UNSTORABLE = frozenset({"22021", "22P05", "22003"})
_NOT_IN_TIME = (
    "The database did not answer in time. Repeat with the same Idempotency-Key or messageId; without one, look before "
    "you repeat."
)
_AWAY = (
    "The database is away or ended the connection. Repeat with the same Idempotency-Key or messageId; without one, "
    "look before you repeat."
)
_OTHER_SCHEMA = "This is not a database of this release: it is another one, being restored, or not migrated yet."
_SCHEMA_STATES = frozenset({"42P01", "42703", "3D000", "3F000"})
"""Tables, columns, databases and schemas that are not there."""


def problem(error: PerennialError, *, headers: Mapping[str, str] | None = None) -> Response:
    """The answer to a refusal. `code` and `message` are there for Segment's and RudderStack's clients."""
    body: dict[str, Any] = {  # the members of RFC 9457 and ours
        **_members(error.status, error.code, error.title, error.detail),
        **({"errors": [_member(fault) for fault in error.errors]} if error.errors else {}),
        **error.members,
    }
    extra = {**(headers or {}), **(error.headers if isinstance(error, LimitReached) else {})}
    if error.retry_after is not None:
        extra["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    if isinstance(error, TooSlow | TooLarge):
        extra["Connection"] = "close"  # what is still to come of the body is not read
    if isinstance(error, Unauthorized):
        extra["WWW-Authenticate"] = 'Bearer realm="perennial"'
    return _answer(error.status, body, extra)


def install_problems(app: FastAPI) -> None:
    """Answer refusals, framework errors and a database that is away; what is left goes to `UnexpectedErrors`."""
    app.exception_handler(PerennialError)(_on_refusal)
    app.exception_handler(RequestValidationError)(_on_validation_error)
    app.exception_handler(HTTPException)(_on_http_exception)
    for away in AWAY:
        app.exception_handler(away)(_on_outage)
    app.exception_handler(DBAPIError)(_on_database_error)


class UnexpectedErrors:
    """The outermost layer: a defect is logged once, without what the request carried, and answered with a problem."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on; answer 500 for what nobody handled."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_started = False

        async def watch(message: Message) -> None:
            nonlocal has_started
            has_started = has_started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except ClientDisconnect:
            log.info("client_left", method=scope["method"], route=route_template(scope))
        except Exception:
            log.exception("request_failed", method=scope["method"], route=route_template(scope))
            if not has_started:
                await _unexpected()(scope, receive, send)


def route_template(scope: Scope) -> str:
    """The path of the matched route with its placeholders, so that logs and metrics hold no customer's id."""
    route = scope.get("route")
    return getattr(route, "path", None) or "unknown"


def _unexpected() -> Response:
    detail = "Something went wrong on our side; it has been logged."
    return _answer(500, _members(500, "internal_error", "Something went wrong", detail), {})


async def _on_refusal(_: Request, error: PerennialError) -> Response:
    return problem(error)


async def _on_validation_error(_: Request, error: RequestValidationError) -> Response:
    found: Sequence[Mapping[str, Any]] = error.errors()
    if any(fault["type"] == "json_invalid" for fault in found):
        return problem(Malformed("the body is not JSON: " + str(found[0].get("ctx", {}).get("error", "")).rstrip(": ")))
    faults = tuple(
        FieldError(_pointer(fault, error.body), fault_text(fault), str(fault["type"])) for fault in found[:_MOST_ERRORS]
    )
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return problem(Invalid(f"{faults[0].pointer or 'the body'}: {faults[0].detail}{more}", errors=faults))


async def _on_http_exception(request: Request, error: HTTPException) -> Response:
    known = _BY_STATUS.get(error.status_code)
    if known is not None:
        return problem(known(str(error.detail)), headers=error.headers)
    phrase = HTTPStatus(error.status_code).phrase
    code = phrase.lower().replace(" ", "_")
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_allowed_methods(request))
    return _answer(error.status_code, _members(error.status_code, code, phrase, str(error.detail)), headers)


def _allowed_methods(request: Request) -> list[str]:
    """Of all routes of this path; a router by itself names only those of the first. A path as documented goes first:
    an id may be spelt like one."""
    if documented := request.app.openapi()["paths"].get(request.scope["path"]):
        return [method.upper() for method in documented]
    routes = request.app.routes
    asked = [(method, {**request.scope, "method": method}) for method in _METHODS]
    return [method for method, scope in asked if any(route.matches(scope)[0] is Match.FULL for route in routes)]


async def _on_outage(request: Request, error: Exception) -> Response:
    """Whether a commit was carried out is not known when its answer is lost, so nothing is said about it."""
    what = sqlstate_of(error) or type(error).__name__
    log.warning("database_did_not_answer", route=route_template(request.scope), error=what)
    return problem(Unavailable(_AWAY if is_cut_off(error) else _NOT_IN_TIME, retry_after=1))


async def _on_database_error(request: Request, error: DBAPIError) -> Response:
    """Limits, locks and connections mean 503, values that cannot be stored 422; the rest are our defects."""
    if is_outage(error):
        return await _on_outage(request, error)
    if sqlstate_of(error) in _UNSTORABLE:
        return problem(Invalid("the request holds a value that cannot be stored, such as a NUL character"))
    if sqlstate_of(error) in _SCHEMA_STATES:
        log.error("another_database", route=route_template(request.scope), error=sqlstate_of(error), exc_info=error)
        return problem(Unavailable(_OTHER_SCHEMA, code="database_not_migrated", retry_after=10))
    raise error


def _pointer(fault: Mapping[str, Any], body: Any) -> str:  # pydantic's fault and any JSON
    """Within the body a JSON pointer into it; elsewhere one into the request: /query/limit, /path/key."""
    location: Sequence[str | int] = fault["loc"]
    if location and location[0] == "body":
        return pointer_to(location[1:], body, missing=fault["type"] == "missing")
    return "".join(f"/{escape_pointer(str(part))}" for part in location)


def _members(status: int, code: str, title: str, detail: str) -> dict[str, Any]:  # the members of RFC 9457 and ours
    return {
        "type": f"urn:perennial:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "message": detail,
    }


def _member(fault: FieldError) -> dict[str, str]:
    return {"pointer": fault.pointer, "detail": fault.detail, "code": fault.code}


def _answer(status: int, body: Mapping[str, object], headers: Mapping[str, str]) -> Response:
    return Response(orjson.dumps(body), status_code=status, media_type=MEDIA_TYPE, headers=dict(headers))
