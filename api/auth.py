"""Who is calling: the key behind a request, and the scope that a route asks for.

A route says `dependencies=[requires(Scope.JOURNEYS_WRITE)]`; one that wants to know who it is takes `caller: Caller`.
"""

from __future__ import annotations

import base64
import binascii
import time
from typing import Annotated

import structlog
from fastapi import Depends, Request, Security
from fastapi.params import Depends as Dependency
from fastapi.security import HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials
from sqlalchemy.exc import SQLAlchemyError

from api.dependencies import ApiDependencies
from api.limits import RateLimiter
from database import keys
from database.session import Database
from domain.errors import Forbidden, Unauthorized
from domain.keys import Scope, StoredKey, read_id, read_public_id

log = structlog.get_logger(__name__)

_WRITE_KEY_SECONDS = 1.0
"""A revoked write key may bring events for this long; every other use of a key asks the database."""
_MOST_CACHED = 1_000

_documented = HTTPBearer(auto_error=False, scheme_name="key", description="`Bearer pk_<id>_<secret>_<check>`")


class KeyRing:
    """Looks keys up. Write keys, asked for with every event, are remembered for a second."""

    def __init__(self, dependencies: ApiDependencies) -> None:
        self._database = dependencies.database
        self._intake = dependencies.intake
        self._now = dependencies.now
        self._limiter = RateLimiter(dependencies.rate)
        self._cached: dict[str, tuple[StoredKey, float]] = {}

    async def identify(self, written: str | None, *, remember: bool = False) -> StoredKey:
        """The key that was written, if it is good now; raises Unauthorized or KeyRateLimited.

        `remember`: for taking events, where the id of a browser key stands for the key.
        """
        if not written:
            raise Unauthorized("no key: send `Authorization: Bearer <key>`", code="key_missing")
        key_id = read_id(written) or (read_public_id(written) if remember else None)
        if key_id is None:
            raise Unauthorized("this is not a key of the form pk_<id>_<secret>_<check>", code="key_malformed")
        key = await self._find(key_id, remember=remember)
        if key is None or not key.accepts(written, self._now()):
            raise Unauthorized("this key is unknown, revoked or replaced", code="key_unknown")
        self._limiter.take(key_id)
        return key

    async def _find(self, key_id: str, *, remember: bool) -> StoredKey | None:
        cached = self._cached.get(key_id)
        if remember and cached is not None and time.monotonic() - cached[1] < _WRITE_KEY_SECONDS:
            return cached[0]
        database = self._intake if remember else self._database
        async with database.read() as session:
            key = await keys.find(session, key_id)
        if key is not None:
            await self._note_use(database, key)
            if len(self._cached) >= _MOST_CACHED:
                self._cached.clear()
            self._cached[key_id] = (key, time.monotonic())
        return key

    async def _note_use(self, database: Database, key: StoredKey) -> None:
        """A database that can only be read still answers questions."""
        now = self._now()
        if key.last_used_at is None or now - key.last_used_at >= keys.LAST_USE_EVERY:
            try:
                async with database.transaction() as session:
                    await keys.note_use(session, key.id, now)
            except (SQLAlchemyError, OSError) as error:
                log.warning("use_of_key_not_noted", error=type(error).__name__)


def get_key_ring(request: Request) -> KeyRing:
    """The application's key ring."""
    ring: KeyRing = request.app.state.key_ring
    return ring


def presented_key(request: Request) -> str | None:
    """The key in the Authorization header: Bearer, or Basic with the key as the user (Segment's way)."""
    scheme, _, credentials = request.headers.get("authorization", "").strip().partition(" ")
    match scheme.lower():
        case "bearer":
            return credentials.strip() or None
        case "basic":
            return _basic_user(credentials.strip())
        case _:
            return None


def _basic_user(credentials: str) -> str | None:
    try:
        user, _, _ = base64.b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return user or None


class RequiresScope:
    """A dependency that lets a request through if its key has the scope. `scope` is there for tests to read."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    async def __call__(
        self, request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Security(_documented)]
    ) -> StoredKey:
        """The caller; raises Unauthorized or Forbidden."""
        known: StoredKey | None = getattr(request.state, "caller", None)  # of a route that runs again
        key = known or await get_key_ring(request).identify(presented_key(request))
        if not key.may(self.scope):
            raise Forbidden(f"this key lacks the scope {self.scope}", code="scope_missing")
        request.state.caller = key
        return key


def requires(scope: Scope) -> Dependency:
    """For `dependencies=[...]` of a route or router."""
    dependency: Dependency = Depends(RequiresScope(scope))
    return dependency


def _get_caller(request: Request) -> StoredKey:
    caller: StoredKey = request.state.caller
    return caller


Caller = Annotated[StoredKey, Depends(_get_caller)]
"""The key that the route's `requires` let through."""
