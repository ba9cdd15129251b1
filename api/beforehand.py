"""What a writing route must not do with a connection in hand: wait for another process, a router or a provider.

    routed = await beforehand(session, "told", lambda: tell(...))

The first time, the route's transaction is rolled back, its connection goes back, the work is done, and the route runs
again from its start, now with the outcome. So the work must be repeatable: `occasion(session)` names the request, and
names it alike when it is repeated with its Idempotency-Key.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from database.session import WriteSession
from domain.errors import Unavailable
from domain.ids import new_id

T = TypeVar("T")
_INFO: Final = "beforehand"
_MOST = 5


@dataclass(slots=True)
class Errands:
    """What was done for one request outside its transaction."""

    done: dict[str, Any] = field(default_factory=dict)  # outcomes by name
    occasion: str = field(default_factory=lambda: str(new_id()))

    async def run(self, wanted: Wanted) -> None:
        """Do one more; raises Unavailable for a route that would never end, its ground moving under it."""
        if len(self.done) >= _MOST:
            raise Unavailable("This is being changed at this moment.", code="moving", retry_after=1)
        self.done[wanted.name] = await wanted.work()


class Wanted(Exception):  # noqa: N818  # not an error: it carries the work out of the transaction
    """Work that is to be done first."""

    def __init__(self, name: str, work: Callable[[], Awaitable[Any]]) -> None:
        super().__init__()
        self.name = name
        self.work = work


def attach(session: WriteSession, errands: Errands) -> None:
    """Let the route of this session send for things."""
    session.info[_INFO] = errands


def name_occasion(session: WriteSession, occasion: str) -> None:
    """Say what makes a repetition of this request known as one."""
    session.info[_INFO].occasion = occasion


def occasion(session: WriteSession) -> str:
    """A name for this request; the same for a repetition with its Idempotency-Key."""
    name: str = session.info[_INFO].occasion
    return name


async def beforehand(session: WriteSession, name: str, work: Callable[[], Awaitable[T]]) -> T:
    """The outcome of the work, which is done without a connection. `name` is unlike for unlike work in one request."""
    errands: Errands = session.info[_INFO]
    if name not in errands.done:
        raise Wanted(name, work)
    outcome: T = errands.done[name]
    return outcome
