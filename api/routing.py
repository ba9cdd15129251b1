"""The route class of the API: one transaction a request, committed before the answer leaves.

    router = APIRouter(route_class=ApiRoute)

    @router.post("/v1/things", dependencies=[requires(Scope.THINGS_WRITE)])
    async def make_thing(wish: ThingWish, session: Writing, caller: Caller, as_of: AsOf) -> Thing: ...

A writing route (POST, PUT, PATCH, DELETE) gets its `Writing` session from here. When it returns, the transaction is
committed and only then the answer is sent; when it raises or answers 400 or more, everything is rolled back. Its
Idempotency-Key is honoured here too (api/idempotency.py). Reading routes take `Reading`. Bodies are read whole before
the first statement; what else a route has to wait for, it does `beforehand` (api/beforehand.py).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from typing import Any, TypeVar

import orjson
from fastapi import Depends, HTTPException, Request, Response
from fastapi.params import Depends as Dependency
from fastapi.routing import APIRoute

from api import idempotency
from api.beforehand import Errands, Wanted, attach
from api.dependencies import get_dependencies
from domain.errors import FieldError, Invalid
from domain.payload import find_fault

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])  # any function, as FastAPI declares it

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

_WRITING = frozenset({"POST", "PUT", "PATCH", "DELETE"})

ONLY_ASKS = "x-only-asks"
"""How the OpenAPI document is told that an operation takes no Idempotency-Key (api/openapi.py)."""


def body_limit(size: int) -> Callable[[Endpoint], Endpoint]:
    """Lets one endpoint take bodies of up to `size` bytes instead of the application's limit."""

    def mark(endpoint: Endpoint) -> Endpoint:
        endpoint.max_body_bytes = size  # type: ignore[attr-defined]  # functions take attributes
        return endpoint

    return mark


def only_asks(endpoint: Endpoint) -> Endpoint:
    """Marks a POST that changes nothing: there is nothing to do twice, so no answer (perhaps about people) is kept."""
    endpoint.only_asks = True  # type: ignore[attr-defined]  # functions take attributes
    return endpoint


class StrictRequest(Request):
    """A request whose body is capped while it is read, and whose JSON is strict: UTF-8 and finite numbers."""

    max_body_bytes: int

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The body in pieces; raises HTTPException 413 (FastAPI lets no other exception through) past the cap."""
        size = 0
        async for chunk in super().stream():
            size += len(chunk)
            if size > self.max_body_bytes:
                raise HTTPException(413, f"the body may have {self.max_body_bytes} bytes")
            yield chunk

    async def json(self) -> Any:  # any JSON, as Starlette declares it
        """The body; raises orjson.JSONDecodeError, which is a json.JSONDecodeError."""
        if not hasattr(self, "_json"):
            self._json = orjson.loads(await self.body())
        return self._json


class ApiRoute(APIRoute):
    """See the module's docstring."""

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],  # any function, as FastAPI declares it
        *,
        dependencies: Sequence[Dependency] | None = None,
        **options: Any,  # passed on as they come
    ) -> None:
        check = _claim_idempotency_key
        if getattr(endpoint, "only_asks", False):
            check = _refuse_unstorable
            options["openapi_extra"] = {**(options.get("openapi_extra") or {}), ONLY_ASKS: True}
        # Behind the route's own dependencies: who may not do a thing learns nothing of an earlier answer.
        claim = Depends(check)
        super().__init__(path, endpoint, dependencies=[*(dependencies or ()), claim], **options)

    def get_route_handler(self) -> Handler:
        """The handler that FastAPI made, within a transaction if it writes."""
        handle = super().get_route_handler()
        own_limit: int | None = getattr(self.endpoint, "max_body_bytes", None)

        async def handle_request(request: Request) -> Response:
            strict = StrictRequest(request.scope, request.receive)
            strict.max_body_bytes = own_limit or get_dependencies(request).max_body_bytes
            if request.method not in _WRITING:
                return await handle(strict)
            await strict.body()  # whole before the first statement: a slow client holds no connection
            return await _until_answered(handle, strict)

        return handle_request


class _Refused(Exception):  # noqa: N818  # not an error: it rolls the transaction back and carries the answer out
    def __init__(self, answer: Response) -> None:
        super().__init__()
        self.answer = answer


async def _until_answered(handle: Handler, request: Request) -> Response:
    """Run the route; again after what it needs beforehand, and while another request holds its Idempotency-Key."""
    errands, give_up_at = Errands(), time.monotonic() + idempotency.PATIENCE_SECONDS
    while True:
        try:
            return await _in_transaction(handle, request, errands)
        except Wanted as wanted:
            await errands.run(wanted)
        except idempotency.InProgress as held:
            if time.monotonic() > give_up_at:
                raise held.refusal() from None
            await asyncio.sleep(idempotency.POLL_SECONDS)


async def _in_transaction(handle: Handler, request: Request, errands: Errands) -> Response:
    try:
        # Lazy: no connection is taken before the first statement, so looking up the key does not need a second one.
        async with get_dependencies(request).database.transaction() as session:
            attach(session, errands)
            request.state.write_session = session
            answer = await handle(request)
            if answer.status_code >= 400:
                raise _Refused(answer)
            if claimed := getattr(request.state, "idempotency_claim", None):
                await idempotency.keep(session, claimed, answer)
    except (_Refused, idempotency.Answered) as stopped:
        return stopped.answer
    return answer


async def _claim_idempotency_key(request: Request) -> None:
    """Routes without a caller (public pages, hooks) have nobody to keep an answer for."""
    await _refuse_unstorable(request)
    caller = getattr(request.state, "caller", None)
    if request.method in _WRITING and caller is not None:
        session = request.state.write_session
        request.state.idempotency_claim = await idempotency.claim(session, request, caller)


async def _refuse_unstorable(request: Request) -> None:
    """JSON that FastAPI has parsed for the route must be storable, wherever the route puts it."""
    if hasattr(request, "_json") and (fault := find_fault(await request.json())):
        field = FieldError(fault.pointer, fault.message, fault.code)
        raise Invalid(f"{fault.pointer}: {fault.message}", errors=(field,))
