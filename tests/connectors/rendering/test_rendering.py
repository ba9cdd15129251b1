"""Rendering in child processes: what comes out, and what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from connectors.rendering import Renderer
from connectors.rendering.mjml import MjmlError, compile_mjml
from connectors.rendering.plain_text import plain_text
from connectors.rendering.sandbox import Sandbox
from domain.emails import Addresses
from domain.errors import TemplateAborted
from domain.message_context import cart_context, customer_context, message_context, shop_context
from domain.shop_settings import ShopSettings
from domain.template_language import CONTEXT_MEMBERS, FILTERS, TESTS, faults, template_findings
from domain.templates import Frame, TemplateDocument, email_content
from perennial.builtins import read_templates
from tests.connectors.rendering.conftest import FRAME, TEXT, content, html_of

BUILT_IN = {
    key: TemplateDocument.model_validate(document)
    for key, document in read_templates(Path(__file__).parents[3] / "templates" / "email").items()
}

FRAME_OF_ALL = Frame(BUILT_IN["layout"])

# What comes out -------------------------------------------------------------------------------------------


async def test_values_are_escaped_in_html_and_not_in_subject_and_text(renderer: Renderer) -> None:
    customer = {"traits": {"name": "<b>A&B</b>"}}
    source = content("<p>{{ customer.traits.name }}</p>", subject="{{ customer.traits.name }}")

    rendered = await renderer.render(source, {"customer": customer})

    assert rendered.html == "<p>&lt;b&gt;A&amp;B&lt;/b&gt;</p>"
    assert rendered.subject == "<b>A&B</b>"
    assert rendered.text == "<b>A&B</b>\n"


async def test_a_line_break_in_a_value_cannot_start_another_header(renderer: Renderer) -> None:
    customer = {"traits": {"name": "Ann\r\nBcc: evil@example.com"}}

    rendered = await renderer.render(content(subject="Hi {{ customer.traits.name }}"), {"customer": customer})

    assert rendered.subject == "Hi Ann Bcc: evil@example.com"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ customer.traits.nothing }}", ""),
        ("{{ customer.traits.null }}", ""),
        ("{{ customer.traits.nothing.deeper.still }}", ""),
        ("{{ customer.traits.nothing | default('you') }}", "you"),
        ("{{ customer.traits.null | default('you') }}", "you"),
        ("{{ 2 * customer.traits.nothing + 1 }}", ""),
        ("{% if customer.traits.null > 18 %}old{% else %}young{% endif %}", "young"),
        ("{% for x in customer.traits.nothing %}x{% else %}none{% endfor %}", "none"),
        ("{{ customer.traits.nothing[0].x | money }}", ""),
        ("{{ customer.items }}", "kept"),
    ],
)
async def test_gaps_print_as_nothing(renderer: Renderer, source: str, expected: str) -> None:
    customer = {"traits": {"null": None}, "items": "kept"}

    assert await html_of(renderer, source, customer=customer) == expected


async def test_gaps_are_named(renderer: Renderer) -> None:
    rendered = await renderer.render(content("{{ customer.traits.city }}{{ customer.id }}"), {"customer": {"id": "a"}})

    assert rendered.missing == ("traits",)


@pytest.mark.parametrize(
    ("source", "language", "expected"),
    [
        ("{{ 49.9 | money('EUR') }}", "en", "€49.90"),
        ("{{ '49.90' | money('eur') }}", "de", "49,90\xa0€"),
        ("{{ saved.price | money }}", "en", "¥1,299"),
        ("{{ 5 | money }}", "en", "CHF5.00"),
        ("{{ 'soon' | money }}", "en", ""),
        ("{{ 1e300 | money }}", "en", ""),
        ("{{ 12345.6 | number }}", "de", "12.345,6"),
        ("{{ '2026-12-31' | date }}", "en", "December 31, 2026"),
        ("{{ '2026-12-31T23:30:00Z' | date('short') }}", "de", "01.01.27"),
        ("{{ 'someday' | date }}", "en", "someday"),
        ("{{ 5 | money }}", "xx-nowhere", "CHF5.00"),
    ],
)
async def test_money_numbers_and_dates_speak_the_language(
    renderer: Renderer, source: str, language: str, expected: str
) -> None:
    context = {
        "saved": {"price": {"amount": 1299, "currency": "JPY"}},
        "shop": {"currency": "CHF", "zone": "Europe/Berlin"},
    }

    rendered = await renderer.render(content("x", subject=source, language=language), context)

    assert rendered.subject.replace("\xa0", " ").replace("CHF ", "CHF") == expected.replace("\xa0", " ")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ entry.properties.total | money }}", "¥6,000"),
        ("{{ (entry.properties.total - 1000) | money }}", "¥5,000"),
        ("{% set sum = entry.properties.total %}{{ sum | money }}", "¥6,000"),
        ("{% for product in entry.properties.products %}{{ product.price | money }}{% endfor %}", "¥3,000"),
        ("{{ entry.properties.gift | money }}", "$12.00"),
        ("{{ entry.properties.total | money('USD') }}", "$6,000.00"),
        ("{{ entry.properties.total | money(customer.traits.currency) }}", "€6,000.00"),
        ("{{ customer.traits.credit | money }} {{ 5 | money }}", "€7.00 €5.00"),
        ("{% for sum in customer.traits.sums %}{{ sum | money }}{% endfor %}", "€1.00"),
        ("{% for x in entry.properties.products %}{% endfor %}{% set x = 5 %}{{ x | money }}", "€5.00"),
    ],
)
async def test_amounts_of_the_entering_event_are_in_its_currency_and_all_others_in_the_shops(
    renderer: Renderer, source: str, expected: str
) -> None:
    gift = {"amount": 1200, "currency": "usd"}
    entry = {"properties": {"total": 6000, "currency": "JPY", "products": [{"price": "3000"}], "gift": gift}}
    context = {
        "entry": entry,
        "customer": {"traits": {"credit": 7, "sums": [1]}},
        "shop": {"currency": "EUR"},
    }

    assert (await renderer.render(content("x", subject=source), context)).subject == expected
    assert await renderer.render_strings({"said": source}, context) == {"said": expected}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ entry.properties.products[0].price | money }}", "$20.00"),
        ("{{ entry.properties.products[1]['price'] | default(0) | money }}", "£3.00"),
        ("{% for one in entry.properties.products %}{{ (2 * one.price) | money }} {% endfor %}", "$40.00 £6.00 7.00"),
        ("{{ entry.item.price | money }} {{ entry.properties.total | money }}", "€9.00 £23.00"),
        ("{{ entry.item.price | money('JPY') }}", "¥9"),
    ],
)
async def test_an_amount_of_an_item_is_in_the_currency_that_the_item_states(
    renderer: Renderer, source: str, expected: str
) -> None:
    products = [{"price": 20, "currency": "USD"}, {"price": 3}, {"price": 3.5, "currency": 978}]
    properties = {"total": 23, "currency": "GBP", "products": products}
    entry = {"properties": properties, "item": {"price": 9, "currency": "eur"}}

    rendered = await renderer.render(content("x", subject=source), {"entry": entry, "shop": {"currency": "CHF"}})

    assert rendered.subject == expected


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({"total": 60, "currency": "$"}, "$60.00"),
        ({"total": 60, "currency": "Euro"}, "€60.00"),
        ({"total": 60, "currency": 978}, "60.00"),
        ({"total": 60, "currency": None}, "CHF60.00"),
        ({"total": 60, "products": [{"currency": "JPY"}]}, "¥60"),
        ({"total": {"amount": 6000, "currency": "jpy"}}, "¥6,000"),
        ({"total": {"amount": 6000, "currency": "XXX"}}, "60.00"),
    ],
)
async def test_a_currency_that_is_stated_is_never_replaced_by_the_shops(
    renderer: Renderer, properties: dict[str, Any], expected: str
) -> None:
    context = {"entry": {"properties": properties}, "shop": {"currency": "CHF"}}

    rendered = await renderer.render(content("x", subject="{{ entry.properties.total | money }}"), context)

    assert rendered.subject.replace("\xa0", "") == expected


async def test_a_lone_expression_keeps_its_type(renderer: Renderer) -> None:
    value = {
        "n": "{{ entry.n }}",
        "list": ["{{ entry.l }}"],
        "text": "n is {{ entry.n }}",
        "none": "{{ entry.x }}",
        "same": 3,
    }

    filled = await renderer.render_strings(value, {"entry": {"n": 4.5, "l": [1]}})

    assert filled == {"n": 4.5, "list": [[1]], "text": "n is 4.5", "none": None, "same": 3}
    assert await renderer.render_text("{{ entry.n }} and", {"entry": {"n": 1}}) == "1 and"


async def test_the_preheader_is_hidden_and_not_in_the_text(renderer: Renderer) -> None:
    source = content("<html><body><p>Body</p></body></html>", preheader="Psst {{ customer.id }}")

    rendered = await renderer.render(source, {"customer": {"id": "ann"}})

    assert "Psst ann" in rendered.html
    assert rendered.preheader == "Psst ann"
    assert rendered.text == "Body\n"


@pytest.mark.parametrize("name", ["reg", "copy", "para", "sect", "times", "not", "lt"])
def test_the_text_part_has_the_addresses_that_browsers_read(name: str) -> None:
    html = (
        f'<p><a href="https://shop.example/?a=1&{name}=2&amp;b={{{{ b }}}}&amp;amp;c">Go</a>, AT&amp;T &amp;{name};</p>'
    )

    assert plain_text(html) == f"Go: https://shop.example/?a=1&{name}=2&b={{{{ b }}}}&amp;c , AT&T &{name};\n"


def test_plain_text_reads_well() -> None:
    html = """<html><head><title>T</title><style>p{}</style></head><body><!--[if mso]><p>Outlook</p><![endif]-->
    <h1>Hello  there</h1><p>One<br>two</p><ul><li>a</li><li>b</li></ul><div style="display: none">hidden</div>
    <a href="https://x.example/?a=1&amp;b=2"><img alt="Logo"></a><a href="https://same.example">https://same.example</a>
    <span aria-hidden="true">R</span></body></html>"""

    assert plain_text(html) == (
        "Hello there\n\nOne\ntwo\n\n- a\n\n- b\n\nLogo: https://x.example/?a=1&b=2 https://same.example\n"
    )


# MJML -----------------------------------------------------------------------------------------------------


async def test_loops_around_sections_are_compiled_once_and_filled_many_times(renderer: Renderer) -> None:
    body = "{% for p in entry.products %}" + TEXT.format("<b>{{ p.name }}</b>") + "{% endfor %}"
    source = "{% set greeting = 'Hello' %}" + FRAME.format(body + TEXT.format("{{ greeting }}"))

    rendered = await renderer.render(
        content(None, mjml=source),
        {"entry": {"products": [{"name": "Lamp"}, {"name": "A & B"}]}},
    )

    assert rendered.html.count("<b>") == 2
    assert "<b>A &amp; B</b>" in rendered.html
    assert "Hello" in rendered.html


def test_expressions_survive_in_attributes_text_and_between_columns() -> None:
    section = """<mj-section background-color="{{ shop.color }}">{% if a %}<mj-column width="50%">
    <mj-button href="{{ cart.url | default("x > y") }}">Go {# gone #}</mj-button></mj-column>{% endif %}</mj-section>"""

    html = compile_mjml(FRAME.format(section))

    assert 'href="{{ cart.url | default("x > y") }}"' in html
    assert "background:{{ shop.color }}" in html
    assert html.index("{% if a %}") < html.index("Go") < html.index("{% endif %}")
    assert "gone" not in html


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("<p>no mjml</p>", "one <mjml> element"),
        (FRAME.format("<mj-sektion></mj-sektion>"), "<mj-sektion> is no MJML element"),
        (FRAME.format("<mj-include path='/etc/passwd'/>"), "<mj-include> is no MJML element"),
        (FRAME.format("<mj-section>stray {{ text }}</mj-section>"), "stands between MJML elements"),
        (FRAME.format('<mj-section {% if x %}padding="0"{% endif %}></mj-section>'), "between the attributes"),
        (FRAME.format("<mj-section>"), "cannot be read"),
        (
            FRAME.format("<mj-section><mj-column><mj-social>{{ x }}</mj-social></mj-column></mj-section>"),
            "cannot be read",
        ),
    ],
)
def test_faulty_mjml_is_told_in_one_sentence(source: str, words: str) -> None:
    with pytest.raises(MjmlError, match=words):
        compile_mjml(source)


def test_no_mail_loads_a_font_from_a_third_party_unless_its_author_says_so() -> None:
    plain = "<mj-section><mj-column><mj-text>Ubuntu is MJML's default font</mj-text></mj-column></mj-section>"
    font = '<mj-head><mj-font name="Lato" href="https://fonts.shop.example/lato.css"></mj-font></mj-head>'
    named = f'<mjml>{font}<mj-body><mj-section><mj-column><mj-text font-family="Lato, Roboto">x</mj-text>'
    named += "</mj-column></mj-section></mj-body></mjml>"

    assert "fonts.googleapis.com" not in compile_mjml(FRAME.format(plain)) + compile_mjml(named)
    assert "@import url(https://fonts.shop.example/lato.css)" in compile_mjml(named)


def test_a_layouts_defaults_may_go_unused_and_anything_else_that_would_be_lost_is_told() -> None:
    head = "<mjml><mj-head>{}</mj-head><mj-body>" + TEXT.format("Hello") + "</mj-body></mjml>"
    defaults = '<mj-attributes><mj-button background-color="{{ shop.color }}"></mj-button></mj-attributes>'

    assert "shop.color" not in compile_mjml(head.format(defaults))
    with pytest.raises(MjmlError, match=r"shop.color .* would be lost"):
        compile_mjml(FRAME.format('<mj-section colour="{{ shop.color }}"></mj-section>'))


# The templates that we ship -------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["cart-reminder", "cart-offer", "cart-last-call"])
@pytest.mark.parametrize("data", ["sample", "one product", "nothing"])
async def test_the_built_in_templates_hold_with_much_little_and_no_data(
    renderer: Renderer, key: str, data: str
) -> None:
    template, settings = BUILT_IN[key], ShopSettings(name="Nordlys & Co.", website="https://shop.example")
    sample = {
        "sample": template.sample,
        "one product": {"entry": {"properties": {"product_id": "p", "name": "Lamp", "price": 79}}},
        "nothing": {},
    }[data]
    entry, traits = sample.get("entry", {}), sample.get("customer", {}).get("traits", {})
    context = {
        "customer": customer_context("ann", traits),
        "entry": entry,
        "saved": sample.get("saved", {}),
        "shop": shop_context(settings),
        "cart": cart_context(None, entry, settings),
        "links": {"unsubscribe": "https://l/u/t", "preferences": "https://l/u/t", "view": "https://l/v/t"},
    }

    rendered = await renderer.render(email_content(template, [], frame=FRAME_OF_ALL), context)

    assert template_findings(template) == []
    assert rendered.missing == ()
    assert "None" not in rendered.html + rendered.text + rendered.subject
    assert "https://l/u/t" in rendered.html
    assert "Unsubscribe: https://l/u/t" in rendered.text
    assert len(rendered.html) < 102 * 1024  # Gmail cuts longer messages
    assert ("€79.00" in rendered.html) is (data != "nothing")


async def test_only_who_asked_for_a_message_is_told_so(renderer: Renderer) -> None:
    template, frame = BUILT_IN["cart-reminder"], BUILT_IN["layout"]
    content = email_content(template, [], frame=Frame(frame))
    shared = {
        "shop": shop_context(ShopSettings()),
        "links": {"unsubscribe": "https://l/u/t", "preferences": "https://l/p/t", "view": "https://l/v/t"},
    }

    news = await renderer.render(content, shared | {"message": message_context("marketing")})
    receipt = await renderer.render(content, shared | {"message": message_context("transactional")})

    assert "because you asked to hear from us" in news.text
    assert "Unsubscribe: https://l/u/t" in news.text
    for part in (receipt.html, receipt.text):
        assert "asked to hear" not in part
        assert "https://l/u/t" not in part
        assert "https://l/v/t" in part
        assert "something you did with us" in part


async def test_the_shipped_footer_speaks_the_readers_language(renderer: Renderer) -> None:
    content = email_content(BUILT_IN["cart-reminder"], ["de"], frame=FRAME_OF_ALL)
    links = {"unsubscribe": "https://l/u/t", "preferences": "https://l/p/t", "view": "https://l/v/t"}
    context = {
        "shop": shop_context(ShopSettings(name="Grün & Co")),
        "links": links,
        "message": message_context("marketing", ["xx", "de-CH"]),
    }

    rendered = await renderer.render(content, context)

    assert "Gesendet von Grün &amp; Co, weil Sie von uns hören möchten." in rendered.html
    assert "Gesendet von Grün & Co, weil Sie von uns hören möchten." in rendered.text
    assert "Abmelden: https://l/u/t" in rendered.text
    assert "Im Browser ansehen: https://l/v/t" in rendered.text


@pytest.mark.parametrize("message", [None, 3, [], {"languages": "de"}, {"languages": [None, 7, {}]}])
async def test_words_are_said_in_english_whatever_a_sample_calls_the_languages(
    renderer: Renderer, message: object
) -> None:
    html = await html_of(renderer, '{{ "Unsubscribe" | translate }}{{ customer.x | translate }}', message=message)

    assert html == "Unsubscribe"


# Nothing escapes, nothing hangs (G25) -----------------------------------------------------------------------

# From published advisories and payload lists: CVE-2016-10745, CVE-2019-10906, CVE-2024-56201, CVE-2024-56326,


def test_sandbox_and_allow_list_name_the_same_filters_and_tests() -> None:
    sandbox = Sandbox(autoescape=True)

    assert set(sandbox.filters) == FILTERS
    assert set(sandbox.tests) == TESTS


@pytest.mark.parametrize(
    "source",
    [
        *("{{ frist_name }}", "{% set a = b %}", "{{ links.unsubscrib }}", "{{ shop['nme'] }}"),
        *("{% if cart.totl %}{% endif %}", "{{ message.foo }}", "{{ customer.first_name | default('x') }}"),
    ],
)
def test_a_name_from_nowhere_is_a_warning(source: str) -> None:
    (fault,) = faults(source)
    assert (fault.code, fault.severity) == ("unknown_variable", "warning")


def test_every_name_that_messages_have_is_known() -> None:
    settings = ShopSettings()
    links = Addresses(base="https://shop.example", unsubscribe="u", view="v").links() | {"referral": ""}
    contexts = {
        "cart": cart_context(None, {}, settings),
        "customer": customer_context("ann", {}),
        "links": links,
        "message": message_context("marketing"),
        "shop": shop_context(settings),
    }

    assert {name: set(context) for name, context in contexts.items()} == CONTEXT_MEMBERS
    assert faults("{% set cart = entry.properties.cart %}{{ cart.lines }}{{ shop.name }}{{ shop[entry.event] }}") == []


@pytest.mark.parametrize("part", ["subject", "html", "text", "mjml"])
async def test_a_template_stops_where_it_refuses_to_be_sent(renderer: Renderer, part: str) -> None:
    source = '{% if not cart %}{% abort "cart is empty" %}{% endif %}Hello'
    parts = {"html": None, "mjml": FRAME.format(TEXT.format(source))} if part == "mjml" else {part: source}

    with pytest.raises(TemplateAborted) as refused:
        await renderer.render(content(**parts), {})

    assert refused.value.detail == "cart is empty"
    assert (await renderer.render(content(**parts), {"cart": {"total": 1}})).subject


@pytest.mark.parametrize(
    "source", ["{% abort %}", "{% abort customer.id %}", '{% abort "" %}', '{% abort "holdout" %}', '{{ abort("x") }}']
)
def test_the_reason_of_a_refusal_is_written_out(source: str) -> None:
    assert {fault.code for fault in faults(source)} & {"template_syntax", "template_call"}
