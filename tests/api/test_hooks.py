"""SendGrid's events over HTTP: signed, once each, and effective at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update
from temporalio.exceptions import ApplicationError

from api.dependencies import ApiDependencies
from connectors.rendering import Renderer
from database.consent import Consent
from database.events import Event
from database.messages import Message, MessageEvent, Suppression
from database.session import Database
from database.unread_reports import UnreadReport
from domain.provider_answers import Deferred, Unknown
from domain.refusals import Fault
from domain.runs import OutcomeKind
from tests.fake_sendgrid import FakeSendGrid, fake_sendgrid
from tests.sending import NOON, Shop, enter, open_shop

NOW = datetime(2026, 6, 10, 13, 0, tzinfo=UTC)
SECOND = int(NOW.timestamp())
HOUR = 3_600


@pytest.fixture
def sendgrid() -> Iterator[FakeSendGrid]:
    """Signs the events."""
    with fake_sendgrid() as fake:
        yield fake


@pytest.fixture
def api_dependencies(database: Database, sendgrid: FakeSendGrid) -> ApiDependencies:
    """An API that knows SendGrid's public key."""
    return ApiDependencies(database=database, sendgrid_webhook_key=sendgrid.public_key, now=lambda: NOW)


@pytest.fixture
async def shop(database: Database) -> AsyncIterator[Shop]:
    """A shop that has sent one message to Ann."""
    renderer = Renderer(processes=1)
    async with open_shop(database, renderer) as shop:
        await shop.send(await enter(shop))
        yield shop
    await renderer.close()


class Hook:
    """Posts signed events, each about the one message unless it says otherwise."""

    def __init__(self, client: httpx.AsyncClient, sendgrid: FakeSendGrid, message: Message) -> None:
        self._client = client
        self._sendgrid = sendgrid
        self._message = message

    async def post(self, *events: dict[str, Any], at: int = SECOND) -> httpx.Response:
        common = {"email": "ann@example.com", "timestamp": SECOND, "message_id": str(self._message.id)}
        body, headers = self._sendgrid.signed([common | event for event in events], at)
        return await self.raw(body, headers)

    async def raw(self, body: bytes, headers: dict[str, str]) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self._client.base_url, timeout=30) as anybody:
            return await anybody.post("/v1/hooks/sendgrid", content=body, headers=headers)


@pytest.fixture
async def hook(client: httpx.AsyncClient, sendgrid: FakeSendGrid, shop: Shop) -> Hook:
    """SendGrid's way in."""
    return Hook(client, sendgrid, await shop.message())


async def names(shop: Shop) -> Sequence[str]:
    async with shop.database.read() as session:
        return (await session.execute(select(Event.name).order_by(Event.name))).scalars().all()


async def message_to_ben(shop: Shop) -> Message:
    (his,) = [message for message in await shop.messages() if message.to == "ben@example.com"]
    return his


async def test_a_delivery_is_told_once_however_often_it_comes(hook: Hook, shop: Shop) -> None:
    first = await hook.post({"event": "delivered", "sg_event_id": "e1", "response": "250 OK"})
    again = await hook.post(*[{"event": "delivered", "sg_event_id": "e1"}] * 46)

    assert (first.status_code, first.json()) == (200, {"received": 1, "new": 1})
    assert again.json() == {"received": 46, "new": 0}
    assert (await shop.message()).state == "delivered"
    assert await names(shop) == ["Email Delivered"]


async def test_a_hard_bounce_suppresses_the_address_and_a_block_does_not(hook: Hook, shop: Shop) -> None:
    await hook.post({"event": "bounce", "type": "blocked", "status": "5.7.1", "sg_event_id": "e1"})
    async with shop.database.read() as session:
        assert (await session.execute(select(Suppression))).first() is None

    await hook.post({"event": "bounce", "type": "bounce", "status": "5.1.1", "sg_event_id": "e2"})

    message = await shop.message()
    assert message.state == "bounced"
    async with shop.database.read() as session:
        assert (await session.execute(select(Suppression.reason))).scalar_one() == "hard_bounce"
    assert await names(shop) == ["Email Bounced", "Email Bounced"]


@pytest.mark.parametrize(
    "bounce",
    [
        {"reason": "552 5.2.2 mailbox full", "status": "5.2.2", "type": "bounce"},
        {"reason": "550 5.7.26 sender is unauthenticated", "status": "5.7.26", "type": "bounce"},
        {"reason": "550 5.1.8 sender address rejected", "status": "5.1.8", "type": "bounce"},
        {"reason": "unable to get mx info: no such host", "type": "bounce"},
        {"reason": "550 spam detected", "type": "bounce", "bounce_classification": "Content"},
        {},
    ],
)
async def test_a_bounce_that_is_not_about_the_address_lets_the_next_receipt_leave(
    hook: Hook, shop: Shop, bounce: dict[str, str]
) -> None:
    await hook.post({"event": "bounce", "sg_event_id": "e1"} | bounce)
    async with shop.database.transaction() as session:
        await session.execute(update(Event).values(status="routed"))

    assert (await shop.message()).state == "bounced"
    async with shop.database.read() as session:
        assert (await session.execute(select(Suppression))).first() is None
    run_id = await enter(shop, "bo", email="ann@example.com", journey="receipts")
    assert (await shop.send(run_id)).kind == "done"


BROKEN = [
    (b'{"event": "bounce", "sg_event_id": "\\ud800", "status": "5.1.1"}', "event_id"),
    (b'{"event": "bounce", "sg_event_id": "\xff\xfe", "status": "5.1.1"}', "event_id"),
    (b'{"event": "bounce", "sg_event_id": "a\\u0000", "status": "5.1.1"}', "event_id"),
    (b'{"event": "bounce", "sg_event_id": "a\x00", "status": "5.1.1"}', "event_id"),
    (b'{"event": "bounce", "sg_event_id": }', "malformed_json"),
    (b'{"event": "bou\xffnce", "sg_event_id": "e9"}', "event_unknown"),
    (b"[" * 5_000 + b"]" * 5_000, "malformed_json"),
    (b"1e999999", "not_an_object"),
    (b"nul", "malformed_json"),
]


@pytest.mark.parametrize(("broken", "reason"), BROKEN)
async def test_a_broken_item_costs_its_neighbours_nothing_and_is_counted(
    hook: Hook, shop: Shop, sendgrid: FakeSendGrid, broken: bytes, reason: str
) -> None:
    message_id = (await shop.message()).id
    fine = [
        f'{{"event": "{event}", "sg_event_id": "{event}", "message_id": "{message_id}"}}'.encode()
        for event in ("delivered", "spamreport")
    ]

    answer = await hook.raw(*sendgrid.signed(b"[" + b", ".join([fine[0], broken, fine[1]]) + b"]\r\n", SECOND))

    assert (answer.status_code, answer.json()) == (200, {"received": 2, "new": 2, "unread": 1})
    async with shop.database.read() as session:
        assert (await session.execute(select(Suppression.reason))).scalar_one() == "complaint"
        assert (await session.execute(select(UnreadReport.reason, UnreadReport.items))).all() == [(reason, 1)]


@pytest.mark.parametrize("bad", [b"\\u0000", b"\x00", b"\\ud800", b"\\udc00x", b"\xff", b"\xc3", b"\x1f"])
async def test_a_bounce_counts_whatever_bytes_its_server_wrote_into_the_reason(
    hook: Hook, shop: Shop, sendgrid: FakeSendGrid, bad: bytes
) -> None:
    message_id = str((await shop.message()).id).encode()
    body = (
        b'[{"event": "bounce", "type": "bounce", "status": "5.1.1", "sg_event_id": "e1", "x": "' + bad + b'", '
        b'"reason": "550 ' + bad + b' user unknown", "message_id": "' + message_id + b'"}]'
    )

    answer = await hook.raw(*sendgrid.signed(body, SECOND))

    assert answer.json() == {"received": 1, "new": 1}
    async with shop.database.read() as session:
        assert (await session.execute(select(Suppression.reason))).scalar_one() == "hard_bounce"
        detail = (await session.execute(select(MessageEvent.detail))).scalar_one()
    assert detail["reason"].endswith("user unknown")


async def test_a_complaint_stops_all_mail_to_the_address_at_once(hook: Hook, shop: Shop) -> None:
    await hook.post({"event": "spamreport", "sg_event_id": "e1"})

    async with shop.database.transaction() as session:
        assert (await session.execute(select(Suppression.reason))).scalar_one() == "complaint"
        sources = (await session.execute(select(Consent.source).order_by(Consent.at))).scalars().all()
        await session.execute(update(Event).values(status="routed"))
    assert sources == ["api", "complaint"]
    sent_before = len(shop.provider.calls)
    for customer, journey in (("bo", "welcome"), ("cy", "receipts")):  # a receipt needs no consent, but it is mail
        run_id = await enter(shop, customer, email="ann@example.com", journey=journey)
        assert (await shop.send(run_id)).reason == "complaint"
    assert len(shop.provider.calls) == sent_before


async def test_an_unsubscription_at_the_provider_withdraws_consent(hook: Hook, shop: Shop) -> None:
    await hook.post({"event": "unsubscribe", "sg_event_id": "e1"})

    async with shop.database.read() as session:
        latest = (await session.execute(select(Consent).order_by(Consent.at.desc()).limit(1))).scalar_one()
    assert (latest.state, latest.purpose) == ("unsubscribed", "marketing")
    assert await names(shop) == ["Consent Withdrawn", "Unsubscribed"]


async def test_a_report_settles_an_unknown_message(hook: Hook, shop: Shop) -> None:
    shop.provider.script = [Unknown("timeout")]
    async with shop.database.transaction() as session:
        await session.execute(update(Message).values(state="unknown", accepted_at=None))

    await hook.post({"event": "processed", "sg_event_id": "e1"})

    message = await shop.message()
    assert message.state == "accepted"
    assert message.accepted_at is not None


@pytest.mark.parametrize("event", ["processed", "delivered", "bounce", "open"])
@pytest.mark.parametrize("journey", ["welcome", "receipts"])
async def test_nobody_gets_twice_what_the_provider_refused_and_yet_delivered(
    client: httpx.AsyncClient, sendgrid: FakeSendGrid, shop: Shop, event: str, journey: str
) -> None:
    run_id = await enter(shop, "ben", journey=journey)
    shop.provider.script, shop.provider.calls = [Deferred("http_503", 503, fault=Fault.PROVIDER)], []
    with pytest.raises(ApplicationError, match="try again"):
        await shop.send(run_id)  # claimed, for its second try

    await Hook(client, sendgrid, await message_to_ben(shop)).post({"event": event, "sg_event_id": "e1"})
    outcome = await shop.send(run_id)

    assert outcome.kind is OutcomeKind.DONE
    assert len(shop.provider.calls) == 1


async def test_a_receipt_that_arrived_after_all_while_it_waits_for_its_second_try_is_no_second_copy(
    client: httpx.AsyncClient, sendgrid: FakeSendGrid, shop: Shop
) -> None:
    run_id = await enter(shop, "ben", journey="receipts")
    shop.provider.script, shop.provider.calls = [Unknown("timeout"), Deferred("http_503", 503)], []
    for later in (timedelta(), timedelta(minutes=16)):
        with pytest.raises(ApplicationError, match="try again"):
            await shop.send(run_id, as_of=NOON + later)

    await Hook(client, sendgrid, await message_to_ben(shop)).post({"event": "delivered", "sg_event_id": "e1"})
    await shop.send(run_id, as_of=NOON + timedelta(minutes=30))

    assert len(shop.provider.calls) == 2
    assert (await message_to_ben(shop)).state == "delivered"


async def test_an_asynchronous_bounce_is_found_by_sendgrids_own_id(hook: Hook, shop: Shop) -> None:
    event = {"event": "bounce", "sg_event_id": "e1", "message_id": None, "sg_message_id": "provider-1.filter0425.1"}
    await hook.post(event)

    assert (await shop.message()).state == "bounced"


async def test_machine_opens_are_counted_apart(hook: Hook, shop: Shop) -> None:
    await hook.post({"event": "open", "sg_event_id": "e1", "sg_machine_open": True})

    async with shop.database.read() as session:
        assert (await session.execute(select(MessageEvent.actor))).scalar_one() == "machine"
        assert (await session.execute(select(Event.properties))).scalar_one()["machine"] is True


async def test_reports_about_messages_nobody_knows_are_dropped(hook: Hook, shop: Shop) -> None:
    answer = await hook.post({"event": "delivered", "sg_event_id": "e1", "message_id": "0" * 32})

    assert answer.json() == {"received": 1, "new": 0}


async def test_what_sendgrid_repeats_for_a_day_while_we_are_away_is_taken_and_counts_once(
    hook: Hook, shop: Shop
) -> None:
    event = {"event": "spamreport", "sg_event_id": "e1"}

    answers = [await hook.post(event, at=SECOND - hours * HOUR) for hours in (24, 1, 0)]

    assert [answer.json() for answer in answers] == [{"received": 1, "new": new} for new in (1, 0, 0)]


async def test_forged_stale_and_replayed_requests_are_refused(hook: Hook, shop: Shop, sendgrid: FakeSendGrid) -> None:
    event = {"event": "spamreport", "sg_event_id": "e1", "message_id": str((await shop.message()).id)}
    body, headers = sendgrid.signed([event], SECOND)

    forged = await hook.raw(body.replace(b"e1", b"e2"), headers)
    unsigned = await hook.raw(body, {})
    stale = await hook.post(event, at=SECOND - 26 * HOUR)
    early = await hook.post(event, at=SECOND + HOUR)

    assert [answer.status_code for answer in (forged, unsigned, stale, early)] == [403] * 4
    assert (await shop.message()).state == "accepted"


@pytest.mark.parametrize("body", [b"", b"{}", b"[" * 50_000, b"\xff\xfe", b'[{"event": "delivered"'])
async def test_signed_rubbish_is_refused_politely(hook: Hook, sendgrid: FakeSendGrid, body: bytes) -> None:
    answer = await hook.raw(*sendgrid.signed(body, SECOND))

    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
