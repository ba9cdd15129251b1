"""Mails as customers get them: links, languages, preferences, and what the send gate held back and why."""

from __future__ import annotations

import base64
import json
import re
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from tests.scenarios.conftest import SENDGRID_KEY, Stack, eventually
from tests.scenarios.shoppers import Json, Shopper, is_over, note, outcomes, published, reason_of, stands_at

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TARGET = "https://shop.example/cart?id=c-1"
LINKED = (
    "<p>Hello {{ customer.traits.first_name }}, "
    '<a href="https://shop.example/cart?id={{ entry.properties.cart_id }}">your cart</a> '
    '<a href="{{ links.preferences }}">preferences</a></p>'
)


@pytest.fixture
def settings(stack: Stack) -> Iterator[Json]:
    """The shop's settings, which are put back afterwards."""
    before = stack.get("/v1/settings")
    yield before
    save(stack, before)


@pytest.fixture
def browser() -> Iterator[httpx.Client]:
    """A customer's browser, which has no key."""
    agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36"
    with httpx.Client(headers={"User-Agent": agent}, timeout=60) as client:
        yield client


def save(stack: Stack, settings: Json) -> None:
    """Replace the shop's settings."""
    answer = stack.client.put("/v1/settings", json=settings)
    assert answer.status_code == 200, answer.text


def mail_to(shopper: Shopper) -> EmailMessage:
    """The first mail in the customer's inbox."""
    return eventually(lambda: shopper.stack.mailbox.of(shopper.email), lambda mails: mails != [])[0]


def html_of(mail: EmailMessage) -> str:
    """Its HTML part."""
    part = mail.get_body(("html",))
    assert part is not None
    content: str = part.get_content()
    return content


def link_in(mail: EmailMessage, kind: str) -> str:
    """The first link of a kind: `c` a click, `o` the opening, `u` the preferences."""
    found = re.search(rf'"(http[^"]+/{kind}/[^"]+)"', html_of(mail))
    assert found is not None, html_of(mail)
    return found.group(1)


def consents(shopper: Shopper) -> dict[str, str]:
    """What the customer consented to, by purpose."""
    return {consent["purpose"]: consent["state"] for consent in shopper.profile()["consent"]}


def test_a_click_leads_to_the_target_and_on_in_the_journey(stack: Stack, browser: httpx.Client) -> None:
    clicked = {"message": "clicked", "step": "mail", "steps": [{"update": {"id": "seen", "traits": {"seen": True}}}]}
    steps: list[Json] = [
        {"send": {"id": "mail", "template": note(stack, html=LINKED)}},
        {"wait_for": {"id": "answer", "timeout": "300s", "any": [clicked]}},
    ]
    journey = published(stack, steps)
    ann = Shopper(stack, first_name="<Ann>")
    ann.start(journey, {"cart_id": "c-1"})
    mail = mail_to(ann)
    assert "Hello &lt;Ann&gt;" in html_of(mail)
    ann.run(journey, stands_at("answer"))
    time.sleep(2)  # sooner, only a machine clicks

    opened, followed = browser.get(link_in(mail, "o")), browser.get(link_in(mail, "c"))

    assert opened.headers["content-type"] == "image/gif"
    assert (followed.status_code, followed.headers["location"]) == (302, TARGET)
    assert outcomes(ann.run(journey, is_over)) == [("mail", "done"), ("answer", "done"), ("seen", "done")]
    message = stack.get(f"/v1/messages/{ann.messages()[0]['id']}")
    assert [(event["kind"], event["actor"]) for event in message["events"]] == [
        ("opened", "human"),
        ("clicked", "human"),
    ]


def test_a_machine_that_fetches_a_link_is_led_on_and_counts_for_nothing(stack: Stack, browser: httpx.Client) -> None:
    wait = {"id": "answer", "timeout": "3s", "any": [{"message": "clicked"}]}
    journey = published(stack, [{"send": {"template": note(stack, html=LINKED)}}, {"wait_for": wait}])
    ann = Shopper(stack)
    ann.start(journey, {"cart_id": "c-1"})

    followed = browser.get(link_in(mail_to(ann), "c"), headers={"User-Agent": "Barracuda Sentinel (link scan)"})

    assert followed.headers["location"] == TARGET
    assert reason_of(ann.run(journey, is_over), "answer") == "timed_out"


def test_preferences_change_by_post_only_and_count_at_once(stack: Stack, browser: httpx.Client) -> None:
    template = note(stack, html=LINKED)
    steps: list[Json] = [
        {"send": {"id": "first", "template": template}},
        {"wait_for": {"timeout": "300s", "any": [{"message": "unsubscribed"}]}},
        {"send": {"id": "second", "template": template, "on_skip": [{"update": {"id": "sorry", "traits": {"s": 1}}}]}},
        {"send": {"id": "receipt", "template": template, "category": "transactional"}},
        {"send": {"id": "third", "template": template, "on_skip": "exit"}},
        {"update": {"id": "never", "traits": {"n": 1}}},
    ]
    journey = published(stack, steps, purpose="marketing")
    ann = Shopper(stack)
    ann.track("Consent Granted", {"purpose": "marketing", "channel": "email"})
    ann.start(journey)
    page = link_in(mail_to(ann), "u")

    assert [browser.get(page).status_code for _ in range(2)] == [200, 200]
    assert consents(ann) == {"marketing": "subscribed"}
    assert browser.post(page, data={"action": "save"}).status_code == 200
    assert consents(ann) == {"marketing": "unsubscribed"}

    run = ann.run(journey, is_over)
    assert [step for step in outcomes(run) if not step[0].startswith("wait")] == [
        ("first", "done"),
        ("second", "skipped"),
        ("sorry", "done"),
        ("receipt", "done"),
        ("third", "skipped"),
    ]
    assert (run["state"], reason_of(run, "second")) == ("exited", "unsubscribed")
    browser.post(page, data={"action": "save", "subscribed": "marketing"})
    assert consents(ann) == {"marketing": "subscribed"}


def test_without_consent_or_address_a_message_is_skipped_with_the_reason(stack: Stack) -> None:
    journey = published(stack, [{"send": {"id": "mail", "template": note(stack)}}], purpose="marketing")
    silent, nowhere = Shopper(stack), Shopper(stack)
    nowhere.post("identify", userId=nowhere.id, traits={"email": None})
    stack.client.put(f"{nowhere.path}/consent", json={"state": "subscribed"}).raise_for_status()

    for shopper, reason in ((silent, "no_consent"), (nowhere, "no_address")):
        shopper.start(journey)
        assert reason_of(shopper.run(journey, is_over), "mail") == reason
        assert [(message["state"], message["reason"]) for message in shopper.messages()] == [("skipped", reason)]


def test_a_frequency_cap_spares_the_customer_but_not_the_receipt(stack: Stack, settings: Json) -> None:
    cap = {"channel": "email", "purpose": "marketing", "at_most": 1, "per": "1d"}
    save(stack, settings | {"frequency_caps": [cap], "consent_defaults": {"marketing": "subscribed"}})
    template = note(stack)
    steps: list[Json] = [{"send": {"id": name, "template": template}} for name in ("first", "second")]
    steps.append({"send": {"id": "receipt", "template": template, "category": "transactional"}})
    journey = published(stack, steps, purpose="marketing")
    ann = Shopper(stack)
    ann.start(journey)

    run = ann.run(journey, is_over)

    assert outcomes(run) == [("first", "done"), ("second", "skipped"), ("receipt", "done")]
    assert reason_of(run, "second") == "frequency_cap"


def test_in_quiet_hours_marketing_waits_stale_mail_expires_and_receipts_leave(stack: Stack, settings: Json) -> None:
    now = datetime.now(UTC)
    quiet = {"from": f"{now - timedelta(minutes=5):%H:%M}", "to": f"{now + timedelta(hours=1):%H:%M}"}
    save(stack, settings | {"quiet_hours": quiet, "consent_defaults": {"marketing": "subscribed"}})
    template = note(stack)
    steps: list[Json] = [
        {"send": {"id": "receipt", "template": template, "category": "transactional"}},
        {"send": {"id": "stale", "template": template, "not_after": "1m"}},
        {"send": {"id": "news", "template": template}},
    ]
    journey = published(stack, steps, purpose="marketing")
    asleep, awake = Shopper(stack, timezone="UTC"), Shopper(stack, timezone="Etc/GMT-12")
    for shopper in (asleep, awake):
        shopper.start(journey)

    assert outcomes(awake.run(journey, is_over)) == [("receipt", "done"), ("stale", "done"), ("news", "done")]
    asleep.run(journey, stands_at("news"))
    held = {message["step"]: (message["state"], message["reason"]) for message in asleep.messages()}
    assert held == {
        "receipt": ("accepted", None),
        "stale": ("expired", "not_after"),
        "news": ("planned", "quiet_hours"),
    }


def test_customers_get_their_language_and_marketers_a_preview(stack: Stack) -> None:
    german = {"subject": "Hallo {{ customer.traits.first_name }}", "html": "<p>Guten Tag</p>"}
    template = note(stack, subject="Hello {{ customer.traits.first_name }}", locales={"de": german})
    journey = published(stack, [{"send": {"template": template}}])
    ann, bob = Shopper(stack, first_name="Ann", locale="de-AT"), Shopper(stack, first_name="Bob")
    for shopper in (ann, bob):
        shopper.start(journey)

    assert [mail_to(shopper)["Subject"] for shopper in (ann, bob)] == ["Hallo Ann", "Hello Bob"]
    assert "Guten Tag" in html_of(mail_to(ann))
    preview = stack.client.post(
        f"/v1/templates/{template}/preview", json={"customer_id": ann.id, "purpose": "transactional"}
    ).json()
    assert (preview["subject"], preview["text"].strip()) == ("Hallo Ann", "Guten Tag")
    trial = f"{uuid.uuid4().hex}@example.com"
    sample = {"customer": {"traits": {"first_name": "Sam"}}}
    stack.client.post(f"/v1/templates/{template}/test", json={"to": trial, "sample": sample}).raise_for_status()
    (tried,) = eventually(lambda: stack.mailbox.of(trial), lambda mails: mails != [])
    assert tried["Subject"] == "Hello Sam"


def test_a_complaint_told_by_the_provider_counts_once_and_ends_marketing(stack: Stack) -> None:
    template = note(stack)
    steps: list[Json] = [
        {"send": {"id": "first", "template": template}},
        {"wait_for": {"timeout": "300s", "any": [{"message": "complained"}]}},
        {"send": {"id": "second", "template": template}},
    ]
    journey = published(stack, steps, purpose="marketing")
    ann = Shopper(stack)
    ann.track("Consent Granted", {"purpose": "marketing", "channel": "email"})
    ann.start(journey)
    mail_to(ann)
    (message,) = ann.messages()
    told = {
        "event": "spamreport",
        "sg_event_id": uuid.uuid4().hex,
        "message_id": message["id"],
        "timestamp": int(time.time()),
    }

    assert hook(stack, [told], forged=True).status_code == 403
    assert hook(stack, [told, told]).json() == {"received": 2, "new": 1}

    assert reason_of(ann.run(journey, is_over), "second") == "complaint"


def hook(stack: Stack, events: list[dict[str, Any]], *, forged: bool = False) -> httpx.Response:
    """Post to SendGrid's event webhook, signed as SendGrid does."""
    body, timestamp = json.dumps(events).encode(), str(int(time.time()))
    signature = SENDGRID_KEY.sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
    headers = {
        "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
        "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
    }
    content = body + b" " if forged else body
    return httpx.post(f"{stack.addresses['api']}/v1/hooks/sendgrid", content=content, headers=headers, timeout=60)
