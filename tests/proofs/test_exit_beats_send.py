"""Exit beats send (G12), over HTTP on both sides and by one clock.

The shop's exit event goes to the real API; the message goes to a sink that speaks SendGrid's wire format. Every pair
races: the event is posted while the message is on its way. Wanted: no message is handed over once the exit is
acknowledged, unless the call had begun. Its row tells when the gate looked (`attempting_at`) and when the provider was
called (`called_at`); between the two nothing waits.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from temporalio.exceptions import ApplicationError

from activities.message_attempts import STALE
from activities.messages import MessageActivities
from activities.pacing import Pacer
from activities.providers import Providers
from api.app import create_app
from api.dependencies import ApiDependencies
from connectors.rendering import Renderer
from connectors.sendgrid import SendGridProvider
from database.customers import Customer
from database.messages import Message
from database.runs import LockedRun, Run
from database.session import Database, WriteSession
from domain.journeys.library import DefinitionLibrary
from domain.keys import KeyKind, Scope
from domain.runs import OutcomeKind, StepInput
from tests.api.serving import serving
from tests.api.toy import make_key
from tests.fake_sendgrid import FakeSendGrid, fake_sendgrid
from tests.sending import PUBLIC_URL, ScriptedWebhooks, add_customer, add_run, hello_template, publish, welcome_journey
from triggers.live import LiveCache
from triggers.router import Router
from triggers.routing import Routing

AT_ONCE = 8
RATE = 100.0  # there is a line to stand in
_BEFORE_THE_SERVER = httpx.Limits(keepalive_expiry=1.0)  # connections are left by the client first
_TICK = 0.001  # rows keep microseconds, and two threads note their times


@dataclass(frozen=True, slots=True)
class Pair:
    """One race, in Unix seconds of one clock. `begun`, `called` and `accepted` are the row's, `arrived` the sink's."""

    posted: float
    acknowledged: float
    sending: float
    sent: float
    begun: float | None = None
    called: float | None = None
    arrived: float | None = None
    accepted: float | None = None

    @property
    def overlapped(self) -> bool:
        """Whether posting the exit and sending the message were under way at once."""
        return self.posted < self.sent and self.sending < self.acknowledged

    @property
    def is_broken(self) -> bool:
        """Whether the call began after the exit had been acknowledged."""
        return self.begun is not None and self.begun > self.acknowledged

    @property
    def is_held_up(self) -> bool:
        """Whether the provider was called by what the gate had seen long before."""
        return self.begun is not None and self.called is not None and self.called - self.begun > STALE.total_seconds()

    @property
    def is_ordered(self) -> bool:
        """Whether row and sink tell one story: begun, arrived, accepted."""
        moments = self.begun, self.called, self.arrived, self.accepted
        if None in moments:
            return self.begun is self.arrived is None
        known = [moment for moment in moments if moment is not None]
        return all(earlier <= later + _TICK for earlier, later in itertools.pairwise(known))


@dataclass
class Arena:
    """API, router and sender, on a database of their own, and the sink."""

    database: Database
    sender: MessageActivities
    shop: httpx.AsyncClient
    sink: FakeSendGrid
    spread: float = 0.2  # seconds within which the exit is posted; follows what a message takes on this machine

    async def race(self, number: int) -> Pair:
        """An exit is posted while the message of the same run is sent."""
        user = f"user-{number}"
        async with self.database.transaction() as session:
            run_id = await add_run(session, await add_customer(session, user), entered_at=datetime.now(UTC))
        (posted, acknowledged), (sending, sent) = await asyncio.gather(self._exit(user), self._send(run_id))
        self.spread = 0.9 * self.spread + 0.1 * (sent - sending)
        async with self.database.read() as session:
            message = (await session.execute(select(Message).where(Message.run_id == run_id))).scalar_one_or_none()
        if message is None or message.attempting_at is None:
            return Pair(posted, acknowledged, sending, sent, arrived=self._arrival(user))
        accepted = None if message.accepted_at is None else message.accepted_at.timestamp()
        begun = message.attempting_at.timestamp()
        called = None if message.called_at is None else message.called_at.timestamp()
        return Pair(posted, acknowledged, sending, sent, begun, called, self._arrival(user), accepted)

    async def _exit(self, user: str) -> tuple[float, float]:
        await asyncio.sleep(random.random() * self.spread)
        posted = time.time()
        answer = await self.shop.post("/v1/track", json={"userId": user, "event": "Order Completed"})
        acknowledged = time.time()
        assert answer.status_code == 200
        return posted, acknowledged

    async def _send(self, run_id: UUID) -> tuple[float, float]:
        """The step's activity, repeated as Temporal does, until the message has left or the run is seen to be over."""
        begun = time.time()
        while True:
            at = StepInput.model_validate(
                {"run_id": run_id, "step": "reminder", "visit": 1, "as_of": datetime.now(UTC)}
            )
            try:
                outcome = await self.sender.send(at)
            except (ApplicationError, DBAPIError):  # not routed yet, or (without the lock) broken off as a deadlock
                await asyncio.sleep(0.01)
                continue
            assert outcome.kind in (OutcomeKind.DONE, OutcomeKind.EXITED)
            return begun, time.time()

    def _arrival(self, user: str) -> float | None:
        times = [request["at"] for request in self.sink.requests if f"{user}@example.com" in str(request["body"])]
        assert len(times) <= 1
        return times[0] if times else None


@pytest.fixture
def sink() -> Iterator[FakeSendGrid]:
    with fake_sendgrid() as fake:
        yield fake


@pytest.fixture
async def arena(database_url: str, sink: FakeSendGrid) -> AsyncIterator[Arena]:
    api, routing, sending = (Database(database_url, pool_size=10) for _ in range(3))
    async with sending.transaction() as session:
        await publish(session, "template", "hello", hello_template())
        await publish(session, "journey", "welcome", welcome_journey())
    key = await make_key(api, "server", KeyKind.SECRET, Scope.EVENTS_WRITE)
    renderer, provider = Renderer(processes=1), SendGridProvider("SG.test", host=sink.url)
    library = DefinitionLibrary(lambda _journey, _version: None)
    providers = Providers(provider, ScriptedWebhooks())
    patience = timedelta(milliseconds=50)
    sender = MessageActivities(
        sending,
        library,
        renderer,
        providers,
        Pacer(sending, {provider.name: RATE}),
        public_url=PUBLIC_URL,
        patience=patience,
    )
    stop = asyncio.Event()
    router = asyncio.create_task(Router(routing, Routing(LiveCache())).run(stop))
    async with (
        serving(create_app(ApiDependencies(database=api))) as url,
        httpx.AsyncClient(base_url=url, auth=(key, ""), timeout=30, limits=_BEFORE_THE_SERVER) as shop,
    ):
        yield Arena(sending, sender, shop, sink)
    stop.set()
    await router
    await renderer.close()
    provider.close()
    for each in (api, routing, sending):
        await each.close()


async def pairs(arena: Arena, overlapping: int) -> list[Pair]:
    """Races until so many of them truly overlapped."""
    raced: list[Pair] = []
    numbers = itertools.count()
    while sum(pair.overlapped for pair in raced) < overlapping:
        raced += await asyncio.gather(*(arena.race(number) for number in itertools.islice(numbers, AT_ONCE)))
    return raced


@pytest.mark.timeout(600)
async def test_no_message_is_handed_over_after_its_exit_was_acknowledged(
    arena: Arena, request: pytest.FixtureRequest
) -> None:
    raced = await pairs(arena, 1_000 if request.config.getoption("full") else 60)

    assert [pair for pair in raced if pair.is_broken] == []
    assert [pair for pair in raced if not pair.is_ordered] == []
    assert [pair for pair in raced if pair.is_held_up] == []
    assert {pair.arrived is None for pair in raced} == {True, False}  # both orders happened


@pytest.mark.timeout(600)
async def test_without_the_customers_lock_messages_are_handed_over_after_it(
    arena: Arena, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof that the one above can fail: the same races, with the lock taken out of the sender."""

    async def without_lock(session: WriteSession, run_id: UUID) -> LockedRun | None:
        statement = select(Run, Customer).join(Customer, Customer.id == Run.customer_id).where(Run.id == run_id)
        found = (await session.execute(statement)).one_or_none()
        await asyncio.sleep(0.02)  # the time that this takes on a busy machine
        return None if found is None else LockedRun(*found)

    monkeypatch.setattr("activities.steps.lock_run", without_lock)

    raced = await pairs(arena, 300 if request.config.getoption("full") else 60)

    assert [pair for pair in raced if pair.is_broken] != []
