"""A shop with templates, a journey that sends, customers in it, and a provider that does as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select

from activities.messages import MessageActivities
from activities.pacing import Pacer
from activities.providers import Providers
from activities.routing_patience import ROUTING_PATIENCE
from connectors.rendering import Renderer
from database import documents
from database.consent import Consent
from database.customers import Customer, Identity
from database.events import Event
from database.messages import Message
from database.runs import Run
from database.session import Database, WriteSession
from database.shop_settings import save_shop_settings
from domain.documents import DocumentState
from domain.emails import OutgoingEmail, OutgoingWebhook
from domain.ids import new_id
from domain.journeys.library import DefinitionLibrary
from domain.provider_answers import Accepted, ProviderAnswer
from domain.runs import RunState, StepInput
from domain.shop_settings import ShopSettings

NOON = datetime(2026, 6, 10, 12, 0, tzinfo=UTC)
PUBLIC_URL = "https://links.shop.example"

Reply = ProviderAnswer | Callable[[OutgoingEmail], Awaitable[ProviderAnswer]]


@dataclass
class ScriptedProvider:
    """Answers from a script and then accepts; `taken` is what it accepted, whatever it answered."""

    name: str = "scripted"
    script: list[Reply] = field(default_factory=list)
    calls: list[OutgoingEmail] = field(default_factory=list)
    taken: list[OutgoingEmail] = field(default_factory=list)

    async def send(self, email: OutgoingEmail, as_of: datetime) -> ProviderAnswer:
        self.calls.append(email)
        reply = self.script.pop(0) if self.script else Accepted("provider-1")
        answer = await reply(email) if callable(reply) else reply
        if isinstance(answer, Accepted):
            self.taken.append(email)
        return answer


@dataclass
class ScriptedWebhooks:
    """Accepts every webhook."""

    name: str = "webhook"
    calls: list[OutgoingWebhook] = field(default_factory=list)

    async def send(self, webhook: OutgoingWebhook, as_of: datetime) -> ProviderAnswer:
        self.calls.append(webhook)
        return Accepted()


@dataclass
class Shop:
    """Everything a test of sending needs at hand."""

    database: Database
    activities: MessageActivities
    provider: ScriptedProvider
    webhooks: ScriptedWebhooks
    pacer: Pacer

    async def send(self, run_id: UUID, *, step: str = "reminder", visit: int = 1, as_of: datetime = NOON) -> Any:
        return await self.activities.send(StepInput(run_id=run_id, step=step, visit=visit, as_of=as_of))

    async def messages(self) -> Sequence[Message]:
        async with self.database.read() as session:
            return (await session.execute(select(Message).order_by(Message.created_at, Message.id))).scalars().all()

    async def message(self) -> Message:
        (only,) = await self.messages()
        return only

    async def set(self, **settings: Any) -> None:
        async with self.database.transaction() as session:
            await save_shop_settings(session, ShopSettings.model_validate(settings), NOON)


@asynccontextmanager
async def open_shop(
    database: Database,
    renderer: Renderer,
    *,
    rates: dict[str, float] | None = None,
    patience: timedelta = ROUTING_PATIENCE,
) -> AsyncIterator[Shop]:
    """A shop whose journey `welcome` sends the template `hello` in its step `reminder`."""
    async with database.transaction() as session:
        await publish(session, "template", "hello", hello_template())
        await publish(session, "journey", "welcome", welcome_journey())
        await publish(session, "journey", "receipts", welcome_journey(journey="receipts", purpose="transactional"))
    provider, webhooks = ScriptedProvider(), ScriptedWebhooks()
    pacer = Pacer(database, rates or {})
    activities = MessageActivities(
        database,
        DefinitionLibrary(lambda _journey, _version: None),
        renderer,
        Providers(provider, webhooks),
        pacer,
        public_url=PUBLIC_URL,
        patience=patience,
    )
    yield Shop(database, activities, provider, webhooks, pacer)


def hello_template(**changes: Any) -> dict[str, Any]:
    """A small template with a link."""
    return {
        "template": "hello",
        "channel": "email",
        "subject": "Hello {{ customer.traits.first_name | default('you') }}",
        "html": '<html><body><p>Hi</p><a href="https://shop.example/cart?a=1&amp;b=2">Cart</a></body></html>',
        **changes,
    }


def welcome_journey(journey: str = "welcome", purpose: str = "marketing", **send: Any) -> dict[str, Any]:
    """A journey of one step, as it is kept after publishing."""
    return {
        "journey": journey,
        "purpose": purpose,
        "enter": {"on": {"event": "Signed Up"}},
        "exit": [{"event": "Order Completed"}],
        "steps": [{"id": "reminder", "send": {"template": "hello", **send}}],
    }


async def publish(session: WriteSession, kind: str, key: str, document: dict[str, Any]) -> int:
    """Make a live version of a document without its checks."""
    row = await documents.save_draft(session, kind, key, document, NOON)
    return await documents.add_version(session, row, document=document, state=DocumentState.LIVE, as_of=NOON, by="test")


async def add_customer(
    session: WriteSession, user_id: str, *, consent: str | None = "subscribed", zone: str | None = None, **traits: Any
) -> UUID:
    """A customer with an address and, unless said otherwise, consent to marketing."""
    customer_id = new_id()
    session.add(
        Customer(
            id=customer_id,
            external_id=user_id,
            traits={"email": f"{user_id}@example.com", **traits},
            email=f"{user_id}@example.com",
            zone=zone,
            first_seen=NOON,
            last_seen=NOON,
        )
    )
    await session.flush()
    session.add(Identity(kind="user", value=user_id, customer_id=customer_id, first_seen=NOON))
    if consent is not None:
        session.add(consent_record(customer_id, consent))
    await session.flush()
    return customer_id


def consent_record(customer_id: UUID, state: str, *, purpose: str = "marketing", source: str = "api") -> Consent:
    """One act of consent, at noon."""
    return Consent(
        id=new_id(),
        customer_id=customer_id,
        purpose=purpose,
        channel="email",
        state=state,
        at=NOON,
        source=source,
        evidence={},
        event_id=new_id(),
    )


async def add_run(session: WriteSession, customer_id: UUID, *, journey: str = "welcome", **changes: Any) -> UUID:
    """An active run of a customer."""
    run_id = new_id()
    values: dict[str, Any] = {
        "id": run_id,
        "journey": journey,
        "version": 1,
        "customer_id": customer_id,
        "occasion": str(run_id),
        "state": RunState.ACTIVE,
        "shadow": False,
        "seen_number": 0,
        "entry": {"event": "Signed Up", "properties": {"plan": "pro"}},
        "entered_at": NOON,
        "workflow_id": f"journey/{journey}/{run_id}",
    }
    session.add(Run(**values | changes))
    await session.flush()
    return run_id


async def add_event(session: WriteSession, user_id: str, name: str, *, status: str = "pending") -> UUID:
    """An event that has been acknowledged."""
    event_id = new_id()
    session.add(
        Event(
            id=event_id,
            source="test",
            message_id=str(event_id),
            kind="track",
            name=name,
            subject=f"u:{user_id}",
            user_id=user_id,
            timestamp=NOON,
            received_at=NOON,
            properties={},
            traits={},
            context={},
            trusted=True,
            status=status,
        )
    )
    await session.flush()
    return event_id


async def enter(shop: Shop, user_id: str = "ann", *, journey: str = "welcome", **traits: Any) -> UUID:
    """A customer with consent in an active run; answers the run's id."""
    async with shop.database.transaction() as session:
        customer_id = await add_customer(session, user_id, **traits)
        return await add_run(session, customer_id, journey=journey)


async def never(_: OutgoingEmail) -> ProviderAnswer:
    """A provider that takes the message and never answers: what a killed worker leaves behind."""
    await asyncio.Event().wait()
    raise AssertionError("nobody wakes it")
