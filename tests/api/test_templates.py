"""Templates over HTTP: save, check, publish, preview, test."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import select

from activities.pacing import Pacer
from activities.trial_messages import TrialSender
from api.dependencies import ApiDependencies
from connectors.rendering import Renderer
from database.keys import IdempotencyKey
from database.session import Database
from tests.sending import PUBLIC_URL, ScriptedProvider, add_customer, hello_template


@pytest.fixture
def provider() -> ScriptedProvider:
    """Takes what tests of templates send."""
    return ScriptedProvider()


@pytest.fixture
def api_dependencies(database: Database, provider: ScriptedProvider) -> ApiDependencies:
    """An API that can render and send tests."""
    renderer = Renderer(processes=1)
    trials = TrialSender(database, renderer, provider, Pacer(database, {}), public_url=PUBLIC_URL)
    return ApiDependencies(database=database, renderer=renderer, trials=trials)


async def save(client: httpx.AsyncClient, **changes: Any) -> httpx.Response:
    return await client.put("/v1/templates/hello", json=hello_template(**changes))


async def test_a_template_is_saved_checked_published_and_previewed(client: httpx.AsyncClient) -> None:
    saved = await save(client, sample={"customer": {"traits": {"first_name": "Ann"}}})
    published = await client.post("/v1/templates/hello/publish", json={})
    preview = await client.post("/v1/templates/hello/preview", json={})

    assert saved.status_code == 200, saved.text
    assert saved.json()["findings"] == []
    assert published.json()["version"] == 1
    shown = preview.json()
    assert shown["subject"] == "Hello Ann"
    assert "<p>Hi</p>" in shown["html"]
    assert "Cart: https://shop.example/cart?a=1&b=2" in shown["text"]


async def test_a_preview_takes_a_sample_or_a_customer(client: httpx.AsyncClient, database: Database) -> None:
    await save(client, preheader="{{ cart.count }} waiting, {{ customer.traits.city }}")
    async with database.transaction() as session:
        await add_customer(session, "ann/1", first_name="Ann")

    sampled = await client.post(
        "/v1/templates/hello/preview", json={"sample": {"customer": {"traits": {"first_name": "Bo"}}}}
    )
    personal = await client.post("/v1/templates/hello/preview", json={"customer_id": "ann/1"})
    unknown = await client.post("/v1/templates/hello/preview", json={"customer_id": "nobody"})

    assert sampled.json()["subject"] == "Hello Bo"
    assert personal.json()["subject"] == "Hello Ann"
    assert personal.json()["missing"] == ["city"]
    assert unknown.status_code == 404


async def test_previews_are_not_kept_and_tests_only_under_their_customers_name(
    client: httpx.AsyncClient, database: Database
) -> None:
    await save(client)
    async with database.transaction() as session:
        ours = await add_customer(session, "ann", first_name="Ann")
    wish = {"customer_id": "ann"}

    shown = await client.post("/v1/templates/hello/preview", json=wish, headers={"Idempotency-Key": "preview"})
    sent = await client.post(
        "/v1/templates/hello/test", json=wish | {"to": "me@shop.example"}, headers={"Idempotency-Key": "test"}
    )

    assert (shown.status_code, sent.json()["subject"]) == (200, "Hello Ann")
    async with database.read() as session:
        kept = (await session.execute(select(IdempotencyKey.key, IdempotencyKey.customer_id))).all()
    assert [tuple(row) for row in kept] == [("test", ours)]


async def test_a_preview_follows_the_language_of_the_customer(client: httpx.AsyncClient) -> None:
    await save(client, locales={"de": {"subject": "Hallo {{ 5 | money('EUR') }}"}})

    wish = {"sample": {"customer": {"traits": {"locale": "de_AT"}}}}
    assert (await client.post("/v1/templates/hello/preview", json=wish)).json()["subject"] == "Hallo 5,00 €"
    assert (await client.post("/v1/templates/hello/preview", json={})).json()["subject"] == "Hello you"


@pytest.mark.parametrize(
    ("reads", "subject"),
    [
        ({"locale": "nl", "language": "en"}, "Hallo 5 €"),
        ({"locale": "nl-BE"}, "Hallo 5 €"),
        ({"locale": "en-GB"}, "Hello"),
        ({"locale": "de"}, "Guten Tag"),
        ({"locale": "pl"}, "Guten Tag"),  # the shop's
        ({}, "Guten Tag"),
    ],
)
async def test_who_reads_the_templates_own_language_gets_it_and_others_the_shops(
    client: httpx.AsyncClient, reads: dict[str, str], subject: str
) -> None:
    await client.put("/v1/settings", json={"language": "de"})
    wordings = {"en": {"subject": "Hello"}, "de": {"subject": "Guten Tag"}}
    saved = await save(client, language="nl", subject="Hallo {{ 5 }} €", locales=wordings)

    shown = await client.post(
        "/v1/templates/hello/preview", json={"sample": {"customer": {"traits": reads}}, "purpose": "transactional"}
    )

    assert saved.json()["findings"] == []
    assert shown.json()["subject"] == subject


async def test_a_layout_says_the_products_words_in_the_readers_language(client: httpx.AsyncClient) -> None:
    await client.put("/v1/settings", json={"name": "Grün & Co"})
    footer = '{{ "Sent by %(shop)s, because you asked to hear from us." | translate(shop=shop.name) }}'
    await save(client, html=f"<p>Hi</p><p>{footer}</p>", text=None)

    shown = (await client.post("/v1/templates/hello/preview", json={"locale": "fr-CA"})).json()
    english = (await client.post("/v1/templates/hello/preview", json={})).json()

    assert "Envoyé par Grün &amp; Co, car vous avez demandé" in shown["html"]
    assert "Envoyé par Grün & Co, car vous avez demandé" in shown["text"]
    assert "Se désabonner: https://shop.example/u/preview" in shown["text"]
    assert "Sent by Grün & Co, because you asked" in english["text"]


@pytest.mark.parametrize(
    ("changes", "code", "pointer"),
    [
        ({"subject": "{{ ''.__class__ }}"}, "template_forbidden", "/subject"),
        ({"subject": "{{ customer.traits.x | attr('y') }}"}, "template_filter", "/subject"),
        ({"subject": "{% if %}"}, "template_syntax", "/subject"),
        ({"subject": " "}, "subject_missing", "/subject"),
        ({"html": None}, "body_missing", ""),
        ({"html": None, "text": " "}, "body_missing", ""),
        ({"html": None, "text": "{{ f() }}"}, "template_call", "/text"),
        ({"sender": {"email": "zoe@elsewhere.example"}}, "sender_domain", "/sender/email"),
        ({"sender": {"email": "hello@news.shop.example"}}, "sender_domain", "/sender/email"),
        ({"sender": {"email": "zoë@shop.example"}}, "sender_unwritable", "/sender/email"),
        ({"sender": {"reply_to": "zoe@-ü.example"}}, "sender_unwritable", "/sender/reply_to"),
        ({"sender": {"name": "{{ customer.traits.seller }}"}}, "sender_expression", "/sender/name"),
        ({"html": "{% for a in range(1000) %}" * 3 + "x" + "{% endfor %}" * 3}, "template_too_slow", "/html"),
        ({"html": None, "mjml": "<mjml><mj-body><mj-nope/></mj-body></mjml>"}, "mjml_error", "/mjml"),
        ({"html": None, "mjml": "<mjml><mj-body><mj-section>"}, "mjml_error", "/mjml"),
        ({"channel": "push"}, "channel_unavailable", "/channel"),
        ({"locales": {"de": {"subject": "{{ f() }}"}}}, "template_call", "/locales/de/subject"),
    ],
)
async def test_a_faulty_template_is_kept_as_a_draft_and_not_published(
    client: httpx.AsyncClient, changes: dict[str, Any], code: str, pointer: str
) -> None:
    saved = await save(client, **changes)
    published = await client.post("/v1/templates/hello/publish", json={})

    assert saved.status_code == 200, saved.text
    errors = [finding for finding in saved.json()["findings"] if finding["severity"] == "error"]
    assert (errors[0]["code"], errors[0]["pointer"]) == (code, pointer)
    assert published.status_code == 409
    assert published.json()["code"] == "checks_failed"


async def test_a_renderer_that_crashed_serves_the_next_template(client: httpx.AsyncClient) -> None:
    deep = "<mjml><mj-body><mj-section><mj-column><mj-text>" + "<b>" * 20_000 + "x" + "</b>" * 20_000
    crashed = await save(client, html=None, mjml=deep + "</mj-text></mj-column></mj-section></mj-body></mjml>")
    fine = await save(client)

    assert crashed.json()["findings"][0]["code"] == "template_crashed"
    assert fine.json()["findings"] == []


async def test_a_gap_in_the_sample_is_a_warning(client: httpx.AsyncClient) -> None:
    saved = await save(client, subject="Hi {{ customer.traits.name }}", sample={"entry": {"properties": {"x": 1}}})

    (finding,) = saved.json()["findings"]
    assert (finding["code"], finding["severity"]) == ("value_missing", "warning")


async def test_links_that_lead_nowhere_in_a_mail_are_told_when_the_template_is_saved(client: httpx.AsyncClient) -> None:
    written = (
        '<a href="/sale">a</a><a href=//shop.example/b>b</a><a href="javascript:alert(1)">c</a>'
        '<a href="{{ entry.properties.app }}">d</a>'
        '<a href="myshop://cart">e</a><a href=https://shop.example/f>f</a><a href="#top">g</a><a href="">h</a>'
    )
    sample = {"entry": {"properties": {"app": "other-app:open"}}}

    saved = await save(client, html=written, sample=sample, locales={"de": {"subject": "Hallo"}})

    told = [(each["code"], each["severity"], each["message"].split()[2]) for each in saved.json()["findings"]]
    assert told == [
        ("link_relative", "warning", "/sale"),
        ("link_relative", "warning", "//shop.example/b"),
        ("link_refused", "warning", "javascript:alert(1)"),
        ("link_refused", "warning", "other-app:open"),
    ]


async def test_a_preview_shows_what_is_sent(client: httpx.AsyncClient) -> None:
    links = '<a href="javascript:x()">a</a><a href="myshop://cart">b</a>'
    await save(client, html=f"<html><body>{links}</body></html>", subject="Of {{ message.purpose }}")

    marketing = (await client.post("/v1/templates/hello/preview", json={})).json()
    receipt = (await client.post("/v1/templates/hello/preview", json={"purpose": "transactional"})).json()

    shown = '<a href="#">a</a><a href="myshop://cart">b</a>'
    assert receipt["html"] == f"<html><body>{shown}</body></html>"
    assert marketing["html"].startswith(f"<html><body>{shown}<p")
    assert "https://shop.example/u/preview" in marketing["html"]
    assert "Unsubscribe: https://shop.example/u/preview" in marketing["text"]
    assert "Unsubscribe" not in receipt["text"]
    assert (marketing["subject"], receipt["subject"]) == ("Of marketing", "Of transactional")


async def test_a_sender_of_the_shops_own_domains_may_be_named(client: httpx.AsyncClient) -> None:
    await client.put(
        "/v1/settings",
        json={"sender": {"name": "Grün", "email": "hallo@grün.example"}, "sender_domains": ["Grün-News.example"]},
    )
    for address in ("zoe@xn--grn-ioa.example", "zoe@grün-news.example"):
        saved = await save(client, sender={"name": "Zoë", "email": address, "reply_to": "help@desk.example"})
        assert saved.json()["findings"] == []

    shown = (await client.post("/v1/templates/hello/preview", json={})).json()
    assert (shown["sender"], shown["reply_to"]) == ('"Zoë" <zoe@grün-news.example>', "help@desk.example")


async def test_a_template_of_text_only_is_published_and_previewed(client: httpx.AsyncClient) -> None:
    saved = await save(client, html=None, text="Hi {{ 5 | money('EUR') }}", locales={"de": {"text": "Na, 5?"}})
    published = await client.post("/v1/templates/hello/publish", json={})
    shown = (await client.post("/v1/templates/hello/preview", json={"purpose": "transactional"})).json()
    german = await client.post("/v1/templates/hello/preview", json={"purpose": "transactional", "locale": "de"})

    assert (saved.json()["findings"], published.status_code) == ([], 200)
    assert (shown["html"], shown["text"]) == (None, "Hi €5.00\n")
    assert german.json()["text"] == "Na, 5?\n"


async def test_a_test_goes_to_the_named_address_and_shows_in_the_list(
    client: httpx.AsyncClient, provider: ScriptedProvider
) -> None:
    await save(client)

    sent = await client.post("/v1/templates/hello/test", json={"to": "me@shop.example"})

    assert sent.status_code == 200, sent.text
    assert (sent.json()["state"], sent.json()["to"]) == ("accepted", "me@shop.example")
    assert [email.to for email in provider.taken] == ["me@shop.example"]
    listed = (await client.get("/v1/messages")).json()["data"]
    assert [row["purpose"] for row in listed] == ["test"]


@pytest.mark.parametrize("to", ["", "no address", "a@b,c@d", "a@b.example\r\nBcc: x@y.example"])
async def test_a_test_needs_one_plain_address(client: httpx.AsyncClient, to: str) -> None:
    await save(client)

    assert (await client.post("/v1/templates/hello/test", json={"to": to})).status_code == 422


WEBHOOK_FAULTS = {
    "plain http": ({"url": "http://shop.example/x"}, "url_not_https"),
    "another scheme": ({"url": "file:///etc/passwd"}, "url_not_https"),
    "a private address": ({"url": "https://169.254.169.254/latest"}, "url_private"),
    "a name of this network": ({"url": "https://vault.internal/x"}, "url_private"),
    "a host from the customer": ({"url": "https://{{ customer.traits.host }}/x"}, "url_malformed"),
    "a secret in the address": ({"url": "https://shop.example/x?token=abcdef123456"}, "secret_in_call"),
    "a secret in a header": ({"headers": {"Authorization": "Bearer abcdef123456"}}, "secret_in_call"),
    "a secret in an expression": ({"headers": {"X-Api-Key": "{{ 'abcdef123456' }}"}}, "secret_in_call"),
    "a secret in the body": ({"body": {"deep": [{"password": "hunter22"}]}}, "secret_in_call"),
    "a header of the connection": ({"headers": {"Transfer-Encoding": "chunked"}}, "header_not_allowed"),
}


@pytest.mark.parametrize(("written", "code"), WEBHOOK_FAULTS.values(), ids=WEBHOOK_FAULTS)
async def test_a_webhooks_template_is_checked_as_strictly_as_a_call(
    client: httpx.AsyncClient, written: dict[str, Any], code: str
) -> None:
    document = {"channel": "webhook", "url": "https://shop.example/x", "body": {}, **written}

    saved = await client.put("/v1/templates/ping", json=document)
    published = await client.post("/v1/templates/ping/publish", json={})

    assert code in {finding["code"] for finding in saved.json()["findings"]}
    assert (published.status_code, published.json()["code"]) == (409, "checks_failed")
