"""A toy resource on the real application, to test what every route gets: keys, transactions, idempotency, problems."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy import text
from starlette.responses import Response

from api.app import create_app
from api.auth import requires
from api.dependencies import ApiDependencies, Reading, Writing
from api.limits import Rate
from api.paths import CustomerRef
from api.routing import ApiRoute
from database import keys
from database.session import Database
from domain.errors import Conflict
from domain.keys import KeyKind, Scope

router = APIRouter(route_class=ApiRoute)
UNDER_WAY, MAY_END = asyncio.Event(), asyncio.Event()
"""A slow toy is being made; it is ready once the test says so."""


class Toy(BaseModel):
    """What the toy routes take. `mood` says what goes wrong."""

    name: str
    mood: str = "good"
    seconds: float = 0
    extra: dict[str, Any] = {}


@router.get("/toys", dependencies=[requires(Scope.CUSTOMERS_READ)])
async def list_toys(session: Reading) -> list[str]:
    """The names of all toys; they live in document_changes, the simplest table there is."""
    return list(await session.scalars(text("SELECT kind FROM document_changes ORDER BY kind")))


@router.post("/toys", status_code=201, dependencies=[requires(Scope.CUSTOMERS_WRITE)])
async def make_toy(toy: Toy, session: Writing) -> Response:
    """Makes a toy, unless its mood is bad."""
    insert = text("INSERT INTO document_changes VALUES (:name || '-' || (SELECT count(*) FROM document_changes), 0)")
    await session.execute(insert, {"name": toy.name})
    await asyncio.sleep(toy.seconds)
    if toy.mood == "slow":
        UNDER_WAY.set()
        await MAY_END.wait()
    if toy.mood == "refusing":
        raise Conflict("this toy does not want to be made")
    if toy.mood == "answering":
        return JSONResponse({"code": "odd"}, status_code=409)
    if toy.mood == "broken":
        raise RuntimeError(f"a defect while making {toy.name}")
    count = await session.scalar(text("SELECT count(*) FROM document_changes"))
    return JSONResponse({"name": toy.name, "count": count}, status_code=201, headers={"ETag": '"1"'})


@router.get("/toys/{customer_id}/friends")
async def friends(customer_id: CustomerRef) -> dict[str, str]:
    """Says who was asked for."""
    return {"customer_id": customer_id}


@asynccontextmanager
async def toy_client(database: Database, *, burst: int = 20_000) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application with the toy routes; one request in ten seconds after `burst`."""
    rate = Rate(per_second=0.1, burst=burst)
    app = create_app(ApiDependencies(database=database, rate=rate, max_body_bytes=10_000))
    app.include_router(router)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://perennial.test") as client:
        yield client


async def make_key(database: Database, name: str, kind: KeyKind, *scopes: Scope) -> str:
    """A written key with these scopes."""
    async with database.transaction() as session:
        _, written = await keys.create(session, name, kind, frozenset(scopes))
    return written
