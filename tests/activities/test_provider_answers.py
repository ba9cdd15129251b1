"""What becomes of a message and its step by what the provider answers."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select
from temporalio.exceptions import ApplicationError

from activities.messages import SettleInput
from connectors.smtp import SmtpProvider, SmtpServer
from database.messages import Suppression
from domain.provider_answers import Accepted, Deferred, Rejected, Unknown
from domain.refusals import Fault
from domain.runs import OutcomeKind
from tests.fake_smtp import fake_smtp
from tests.sending import (
    NOON,
    Shop,
    enter,
)

LATER = NOON + timedelta(minutes=20)


async def test_a_refused_message_fails_the_step_with_the_providers_code(shop: Shop) -> None:
    run_id = await enter(shop)
    shop.provider.script = [Rejected("http_400", 400)]

    outcome = await shop.send(run_id)

    assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, "http_400")
    assert (await shop.message()).attempts[0]["status"] == 400


async def test_a_message_keeps_what_of_it_the_provider_objected_to(shop: Shop) -> None:
    run_id = await enter(shop)
    shop.provider.script = [Rejected("http_400", 400, field="content.0.value")]

    await shop.send(run_id)

    assert (await shop.message()).attempts[0]["field"] == "content.0.value"


async def test_an_address_that_the_server_does_not_know_is_suppressed(shop: Shop) -> None:
    run_id = await enter(shop)
    shop.provider.script = [Rejected("smtp_550", 550, fault=Fault.ADDRESS)]

    await shop.send(run_id)

    async with shop.database.read() as session:
        assert (await session.execute(select(Suppression.reason))).scalar_one() == "hard_bounce"


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.ADDRESS])
async def test_a_refusal_about_anything_but_the_address_lets_the_next_receipt_leave(shop: Shop, fault: Fault) -> None:
    shop.provider.script = [Rejected("smtp_550", 550, fault=fault)]
    assert (await shop.send(await enter(shop))).kind == "failed"
    async with shop.database.read() as session:
        assert (await session.execute(select(Suppression))).first() is None
    (message,) = await shop.messages()
    assert message.attempts[-1]["fault"] == fault

    receipt = await enter(shop, "bo", email="ann@example.com", journey="receipts")
    assert (await shop.send(receipt)).kind == "done"


async def test_mail_of_a_shop_with_an_umlaut_in_its_sender_leaves(shop: Shop) -> None:
    sender = {"name": "Gärtnerei Zoë & Co", "email": "hallo@gärten.example", "reply_to": "hilfe@gärten.example"}
    await shop.set(sender=sender, link_base="https://links.gärten.example")

    assert (await shop.send(await enter(shop))).kind == "done"

    (email,) = shop.provider.taken
    assert (email.sender_name, email.sender_address) == (sender["name"], sender["email"])
    assert email.headers["List-Unsubscribe"].startswith("<https://links.xn--grten-gra.example/u/")
    assert "https://links.xn--grten-gra.example/u/" in email.html
    async with fake_smtp() as smtp:
        assert isinstance(await SmtpProvider(SmtpServer("127.0.0.1", smtp.port, "none")).send(email, NOON), Accepted)
    assert smtp.content.isascii()
    assert b"Reply-To: hilfe@xn--grten-gra.example\r\n" in smtp.content


async def test_a_429_costs_time_until_the_provider_says_and_no_message(shop: Shop) -> None:
    run_id = await enter(shop)
    shop.provider.script = [Deferred("http_429", 429, not_before=NOON + timedelta(minutes=2), fault=Fault.PROVIDER)]

    with pytest.raises(ApplicationError) as caught:
        await shop.send(run_id)

    assert caught.value.next_retry_delay is not None
    assert timedelta(seconds=110) < caught.value.next_retry_delay <= timedelta(minutes=2)
    assert (await shop.send(run_id)).kind is OutcomeKind.DONE
    message = await shop.message()
    assert [attempt["outcome"] for attempt in message.attempts] == ["deferred", "accepted"]


async def test_marketing_with_an_unknown_outcome_is_never_sent_again(shop: Shop) -> None:
    run_id = await enter(shop)
    shop.provider.script = [Unknown("timeout")]

    first = await shop.send(run_id)
    second = await shop.send(run_id, as_of=LATER)

    assert (first.kind, first.reason) == (OutcomeKind.DONE, "unknown")
    assert second == first
    assert len(shop.provider.calls) == 1
    settled = await shop.activities.settle_messages(SettleInput(as_of=LATER))
    assert settled.unknown == 1
    assert (await shop.message()).state == "unknown"


async def test_transactional_mail_is_sent_again_once_after_the_settling_time(shop: Shop) -> None:
    run_id = await enter(shop, journey="receipts")
    shop.provider.script = [Unknown("timeout"), Unknown("timeout")]

    with pytest.raises(ApplicationError):
        await shop.send(run_id)
    with pytest.raises(ApplicationError) as caught:
        await shop.send(run_id, as_of=NOON + timedelta(minutes=1))
    outcome = await shop.send(run_id, as_of=LATER)

    assert caught.value.type == "unsettled"
    assert (outcome.kind, outcome.reason) == (OutcomeKind.DONE, "unknown")
    assert len(shop.provider.calls) == 2
    assert (await shop.message()).resent


async def test_a_provider_that_recovers_takes_the_message(shop: Shop) -> None:
    run_id = await enter(shop)
    shop.provider.script = [*[Deferred("provider_unreachable", fault=Fault.PROVIDER)] * 3, Accepted("x")]

    for _ in range(3):
        with pytest.raises(ApplicationError):
            await shop.send(run_id)

    assert (await shop.send(run_id)).kind is OutcomeKind.DONE
    assert len(shop.provider.taken) == 1
