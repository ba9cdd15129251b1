"""The step `send`: one message through the gate, to the provider, into the run log."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select
from temporalio.exceptions import ApplicationError

from activities.pacing import Grant
from connectors.rendering import Renderer, RenderLimits
from database.guarantees import reserved_since
from database.messages import Link
from database.runs import RunStep
from database.session import Database
from database.shop_settings import shop_settings
from database.suppressions import suppress
from domain.provider_answers import Deferred
from domain.refusals import Fault
from domain.runs import OutcomeKind
from perennial.doctor import over_cap
from tests.sending import (
    NOON,
    PUBLIC_URL,
    Shop,
    add_customer,
    add_run,
    consent_record,
    enter,
    hello_template,
    open_shop,
    publish,
    welcome_journey,
)

LATER = NOON + timedelta(minutes=20)


async def test_a_subscribed_customer_gets_the_message_with_tracked_links_and_one_click_headers(shop: Shop) -> None:
    run_id = await enter(shop, first_name="Ann")

    outcome = await shop.send(run_id)

    assert outcome.kind is OutcomeKind.DONE
    (email,) = shop.provider.taken
    assert (email.to, email.subject) == ("ann@example.com", "Hello Ann")
    assert "shop.example/cart" not in email.html
    assert f"{PUBLIC_URL}/c/" in email.html
    assert f"{PUBLIC_URL}/o/" in email.html
    assert email.headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert email.headers["List-Unsubscribe"].startswith(f"<{PUBLIC_URL}/u/")
    message = await shop.message()
    assert (message.state, message.provider_id, message.template_version) == ("accepted", "provider-1", 1)
    async with shop.database.read() as session:
        targets = (await session.execute(select(Link.target).where(Link.kind == "click"))).scalars().all()
        log = (await session.execute(select(RunStep))).scalar_one()
    assert targets == ["https://shop.example/cart?a=1&b=2"]
    assert (log.outcome, log.detail) == ("done", {"message_id": str(message.id)})


async def test_a_link_that_a_customer_wrote_is_no_redirect_under_the_shops_domain(shop: Shop) -> None:
    page = (
        '<a href="{{ customer.traits.blog }}">blog</a> <a href="https://shop.example/{{ customer.traits.blog }}">x</a>'
    )
    async with shop.database.transaction() as session:
        await publish(session, "template", "hello", hello_template(html=f"<html><body>{page}</body></html>"))
    run_id = await enter(shop, blog="https://evil.example/login")

    await shop.send(run_id)

    async with shop.database.read() as session:
        targets = (await session.execute(select(Link.target).where(Link.kind == "click"))).scalars().all()
    assert targets == ["https://shop.example/https://evil.example/login"]
    assert '<a href="https://evil.example/login">blog</a>' in shop.provider.taken[0].html


async def test_a_template_that_refuses_to_be_sent_skips_the_message_with_its_reason(shop: Shop) -> None:
    refuses = '{% if customer.traits.cold %}{% abort "stayed away" %}{% endif %}<p>x</p>'
    async with shop.database.transaction() as session:
        await publish(session, "template", "hello", hello_template(html=f"<html><body>{refuses}</body></html>"))
    run_id = await enter(shop, cold=True)

    outcome = await shop.send(run_id)

    assert (outcome.kind, outcome.reason) == (OutcomeKind.SKIPPED, "stayed away")
    message = await shop.message()
    assert (message.state, message.reason, shop.provider.taken) == ("skipped", "stayed away", [])
    assert await shop.send(run_id) == outcome


async def test_marketing_shows_a_way_out_even_if_the_template_forgot_it(shop: Shop) -> None:
    run_id = await enter(shop)

    await shop.send(run_id)

    (email,) = shop.provider.taken
    assert f"{PUBLIC_URL}/u/" in email.html
    assert f"Unsubscribe: {PUBLIC_URL}/u/" in email.text


async def test_a_template_names_its_own_sender_and_where_answers_go(shop: Shop) -> None:
    sender = {"name": "Zoë from Grün", "email": "zoe@gruen.example", "reply_to": "help@desk.example"}
    async with shop.database.transaction() as session:
        await publish(session, "template", "hello", hello_template(sender=sender))
    await shop.set(sender={"name": "Grün", "email": "hello@shop.example"}, sender_domains=["gruen.example"])
    await shop.send(await enter(shop))
    await shop.set(sender={"name": "Grün", "email": "hello@shop.example"})
    await shop.send(await enter(shop, "bob"))

    listed, unlisted = shop.provider.taken
    assert (listed.sender_name, listed.sender_address) == ("Zoë from Grün", "zoe@gruen.example")
    assert listed.headers["Reply-To"] == "help@desk.example"
    # The provider no longer takes that domain: the message leaves from the shop's own.
    assert (unlisted.sender_name, unlisted.sender_address) == ("Zoë from Grün", "hello@shop.example")
    assert unlisted.headers["Reply-To"] == "help@desk.example"


async def test_a_mail_of_text_only_has_no_html_and_counts_no_links(shop: Shop) -> None:
    text = "Hi, your cart: https://shop.example/cart"
    async with shop.database.transaction() as session:
        await publish(session, "template", "hello", hello_template(html=None, text=text))

    await shop.send(await enter(shop))

    (email,) = shop.provider.taken
    assert email.html == ""
    assert email.text.startswith(f"{text}\n\nUnsubscribe: {PUBLIC_URL}/u/")
    assert email.headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    message = await shop.message()
    assert (message.state, message.html) == ("accepted", None)
    async with shop.database.read() as session:
        kinds = (await session.execute(select(Link.kind).order_by(Link.kind))).scalars().all()
    assert kinds == ["unsubscribe", "view"]


async def test_a_second_call_of_the_activity_sends_nothing_again(shop: Shop) -> None:
    run_id = await enter(shop)

    assert await shop.send(run_id) == await shop.send(run_id)

    assert len(shop.provider.calls) == 1


@pytest.mark.parametrize(
    ("consent", "reason"), [(None, "no_consent"), ("unsubscribed", "unsubscribed"), ("pending", "no_consent")]
)
async def test_marketing_needs_a_subscribed_record(shop: Shop, consent: str | None, reason: str) -> None:
    run_id = await enter(shop, consent=consent)

    outcome = await shop.send(run_id)

    assert (outcome.kind, outcome.reason) == (OutcomeKind.SKIPPED, reason)
    message = await shop.message()
    assert (message.state, message.reason) == ("skipped", reason)
    assert not shop.provider.calls


async def test_a_transactional_message_needs_no_consent_and_carries_no_unsubscribe_header(shop: Shop) -> None:
    async with shop.database.transaction() as session:
        await publish(session, "template", "hello", hello_template(subject="Of {{ message.purpose }}"))
    run_id = await enter(shop, consent="unsubscribed", journey="receipts")

    outcome = await shop.send(run_id)

    assert outcome.kind is OutcomeKind.DONE
    (email,) = shop.provider.taken
    assert "List-Unsubscribe" not in email.headers
    assert email.subject == "Of transactional"


async def test_a_shop_may_send_marketing_to_who_never_said_anything(shop: Shop) -> None:
    await shop.set(consent_defaults={"marketing": "subscribed"})
    run_id = await enter(shop, consent=None)

    assert (await shop.send(run_id)).kind is OutcomeKind.DONE


async def test_a_customer_without_an_address_is_skipped(shop: Shop) -> None:
    run_id = await enter(shop, email="not an address")

    assert (await shop.send(run_id)).reason == "no_address"


@pytest.mark.parametrize(
    ("kept", "journey", "reason"),
    [
        ("erased", "welcome", "erased"),
        ("erased", "receipts", None),
        ("objection", "welcome", "suppressed"),
        ("objection", "receipts", None),
        ("hard_bounce", "receipts", "hard_bounce"),
        ("complaint", "welcome", "complaint"),
        ("complaint", "receipts", "complaint"),
        ("manual", "receipts", "suppressed"),
    ],
)
async def test_a_suppressed_address_gets_nothing_that_its_class_covers(
    shop: Shop, kept: str, journey: str, reason: str | None
) -> None:
    run_id = await enter(shop, journey=journey)
    async with shop.database.transaction() as session:
        await suppress(session, "email", ["Ann@Example.com "], reason=kept, at=NOON)

    assert (await shop.send(run_id)).reason == reason
    assert (not shop.provider.calls) == (reason is not None)


async def test_the_cap_counts_every_journey_and_names_the_rule(shop: Shop) -> None:
    await shop.set(frequency_caps=[{"channel": "email", "at_most": 1, "per": "7d"}])
    async with shop.database.transaction() as session:
        customer_id = await add_customer(session, "ann")
        first, second = [await add_run(session, customer_id) for _ in range(2)]

    assert (await shop.send(first)).kind is OutcomeKind.DONE
    outcome = await shop.send(second, as_of=NOON + timedelta(days=6))

    assert outcome.reason == "frequency_cap"
    skipped = (await shop.messages())[-1]
    assert skipped.rule == {"channel": "email", "at_most": 1, "per": "7d"}


async def test_browsers_cannot_use_up_the_cap_of_trusted_mail_nor_write_without_end(shop: Shop) -> None:
    await shop.set(frequency_caps=[{"channel": "email", "at_most": 2, "per": "7d"}])
    by_browser: dict[str, Any] = {"untrusted": {"by": "event", "step": None, "at": NOON.isoformat()}}
    async with shop.database.transaction() as session:
        customer_id = await add_customer(session, "ann")
        of_browsers = [await add_run(session, customer_id, **by_browser) for _ in range(5)]
        trusted = [await add_run(session, customer_id) for _ in range(5)]

    async def left(runs: Sequence[UUID], hour: int) -> int:
        return [(await shop.send(run, as_of=NOON + timedelta(hours=hour))).reason for run in runs].count(None)

    assert await left(of_browsers[:3], 0) == 2
    assert await left(trusted, 1) == 2
    assert await left(of_browsers[3:], 2) == 0
    assert len(shop.provider.taken) == 4
    async with shop.database.read() as reading:
        [messages] = [theirs async for theirs in reserved_since(reading, NOON)]
        settings = await shop_settings(reading)
    assert over_cap(messages, settings) == []
    assert over_cap([replace(each, sent=replace(each.sent, trusted=True)) for each in messages], settings) != []


async def test_quiet_hours_hold_the_message_until_morning_where_the_customer_lives(shop: Shop) -> None:
    await shop.set(quiet_hours={"from": "21:00", "to": "08:00"})
    run_id = await enter(shop, zone="Asia/Tokyo")  # noon UTC is 21:00 there

    held = await shop.send(run_id)

    assert (held.kind, held.at, held.zone) == (OutcomeKind.LATER, NOON + timedelta(hours=11), "Asia/Tokyo")
    message = await shop.message()
    assert (message.state, message.reason) == ("planned", "quiet_hours")
    assert (await shop.send(run_id, as_of=held.at)).kind is OutcomeKind.DONE


async def test_nothing_leaves_after_not_after(shop: Shop) -> None:
    async with shop.database.transaction() as session:
        await publish(session, "journey", "fresh", welcome_journey(journey="fresh", not_after="2h"))
    run_id = await enter(shop, journey="fresh")
    shop.provider.script = [Deferred("http_503", 503, fault=Fault.PROVIDER)]
    with pytest.raises(ApplicationError, match="try again"):
        await shop.send(run_id)

    outcome = await shop.send(run_id, as_of=NOON + timedelta(hours=8))

    assert (outcome.kind, outcome.reason) == (OutcomeKind.SKIPPED, "not_after")
    assert (await shop.message()).state == "expired"
    assert len(shop.provider.calls) == 1


async def test_an_unknown_template_fails_the_step_and_not_the_run(shop: Shop) -> None:
    async with shop.database.transaction() as session:
        await publish(session, "journey", "broken", welcome_journey(journey="broken", template="nowhere"))
    run_id = await enter(shop, journey="broken")

    outcome = await shop.send(run_id)

    assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, "template_missing")
    assert (await shop.message()).state == "rejected"


async def test_a_template_that_loops_costs_its_own_message_only(shop: Shop) -> None:
    loop = "{% for a in range(1000) %}" * 3 + "x" + "{% endfor %}" * 3
    async with shop.database.transaction() as session:
        await publish(session, "template", "hello", hello_template(html=loop))
    run_id = await enter(shop)

    outcome = await shop.send(run_id)

    assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, "template_too_slow")
    assert (await shop.message()).reason == "template_too_slow"


async def test_a_message_whose_renderer_was_starved_is_tried_again_until_it_is_stale(shop: Shop) -> None:
    async with shop.database.transaction() as session:
        await publish(session, "journey", "fresh", welcome_journey(journey="fresh", not_after="2h"))
    run_id = await enter(shop, journey="fresh")
    able = shop.activities._renderer
    shop.activities._renderer = Renderer(processes=1, limits=RenderLimits(patience=0.001))
    with pytest.raises(ApplicationError) as refused:
        await shop.send(run_id)
    await shop.activities._renderer.close()
    shop.activities._renderer = able
    assert (refused.value.type, refused.value.non_retryable) == ("renderer_busy", False)
    assert (await shop.message()).state == "claimed"

    outcome = await shop.send(run_id)

    assert (outcome.kind, len(shop.provider.calls)) == (OutcomeKind.DONE, 1)


async def test_a_message_that_finds_the_line_too_long_is_not_rendered_in_vain(
    database: Database, renderer: Renderer
) -> None:
    async with open_shop(database, renderer, rates={"scripted": 0.4}) as shop:
        async with shop.database.transaction() as session:
            await publish(session, "template", "hello", hello_template(html="{{ 1 / 0 }}"))
        run_id = await enter(shop)
        assert isinstance(await shop.pacer.stand_in_line("email", "scripted", is_transactional=True), Grant)
        standing = asyncio.create_task(shop.pacer.stand_in_line("email", "scripted", is_transactional=True))
        await asyncio.sleep(0.05)  # it stands for longer than marketing has patience

        with pytest.raises(ApplicationError) as refused:
            await shop.send(run_id)

        standing.cancel()
        assert (refused.value.type, (await shop.message()).state) == ("line_too_long", "claimed")


async def test_a_webhook_template_is_posted_with_its_values_filled_in(shop: Shop) -> None:
    hook = {
        "template": "ping",
        "channel": "webhook",
        "url": "https://erp.shop.example/{{ customer.id }}",
        "body": {"plan": "{{ entry.properties.plan }}", "text": "Hi {{ customer.id }}"},
    }
    async with shop.database.transaction() as session:
        await publish(session, "template", "ping", hook)
        await publish(session, "journey", "ping", welcome_journey(journey="ping", template="ping", channel="webhook"))
        customer_id = await add_customer(session, "ann", consent=None)
        session.add(consent_record(customer_id, "subscribed"))
        run_id = await add_run(session, customer_id, journey="ping")
    await shop.set(consent_defaults={"marketing": "subscribed"})

    outcome = await shop.send(run_id)

    assert outcome.kind is OutcomeKind.DONE
    (webhook,) = shop.webhooks.calls
    assert webhook.url == "https://erp.shop.example/ann"
    assert webhook.body == {"plan": "pro", "text": "Hi ann"}
