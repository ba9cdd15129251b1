"""Rendering in child processes: what comes out, what is missing, and that nothing escapes or hangs (G25)."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from connectors.rendering import Renderer, RenderLimits
from connectors.rendering.mjml import MjmlError, compile_mjml
from connectors.rendering.plain_text import plain_text
from connectors.rendering.sandbox import Sandbox
from domain.errors import TemplateFailed, Unavailable
from domain.message_context import cart_context, customer_context, shop_context
from domain.shop_settings import ShopSettings
from domain.template_language import FILTERS, TESTS, faults, template_findings
from domain.templates import EmailContent, TemplateDocument, email_content
from perennial.builtins import read_templates

BUILT_IN = {
    key: TemplateDocument.model_validate(document)
    for key, document in read_templates(Path(__file__).parents[3] / "templates" / "email").items()
}

_STOPPED_WORKER = """
import asyncio
from connectors.rendering import Renderer, RenderLimits
from domain.templates import EmailContent

LOOP = "{% for a in range(1000) %}{% for b in range(400) %}{% endfor %}{% endfor %}"

async def work():
    renderer = Renderer(processes=1, limits=RenderLimits(cpu=30.0, patience=1.0))
    await renderer.render(EmailContent(subject="", html="warm"), {})
    asyncio.get_running_loop().call_later(0.01, lambda: print("rendering", flush=True))
    print((await renderer.render(EmailContent(subject="", html=LOOP + "<p>rendered</p>"), {})).html, flush=True)
    await renderer.close()

asyncio.run(work())
"""


@pytest.fixture(scope="module")
async def renderer() -> AsyncIterator[Renderer]:
    """One rendering process."""
    renderer = Renderer(processes=1)
    yield renderer
    await renderer.close()


def content(html: str | None = "<p>x</p>", **changes: Any) -> EmailContent:
    return EmailContent(**{"subject": "Hi", "html": html} | changes)


async def html_of(renderer: Renderer, source: str, **context: Any) -> str:
    return (await renderer.render(content(source), context)).html


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


def test_plain_text_reads_well() -> None:
    html = """<html><head><title>T</title><style>p{}</style></head><body><!--[if mso]><p>Outlook</p><![endif]-->
    <h1>Hello  there</h1><p>One<br>two</p><ul><li>a</li><li>b</li></ul><div style="display: none">hidden</div>
    <a href="https://x.example/?a=1&amp;b=2"><img alt="Logo"></a><a href="https://same.example">https://same.example</a>
    <span aria-hidden="true">R</span></body></html>"""

    assert plain_text(html) == (
        "Hello there\n\nOne\ntwo\n\n- a\n\n- b\n\nLogo: https://x.example/?a=1&b=2 https://same.example\n"
    )


# MJML -----------------------------------------------------------------------------------------------------

_FRAME = "<mjml><mj-body>{}</mj-body></mjml>"
_TEXT = "<mj-section><mj-column><mj-text>{}</mj-text></mj-column></mj-section>"


async def test_loops_around_sections_are_compiled_once_and_filled_many_times(renderer: Renderer) -> None:
    body = "{% for p in entry.products %}" + _TEXT.format("<b>{{ p.name }}</b>") + "{% endfor %}"
    source = "{% set greeting = 'Hello' %}" + _FRAME.format(body + _TEXT.format("{{ greeting }}"))

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

    html = compile_mjml(_FRAME.format(section))

    assert 'href="{{ cart.url | default("x > y") }}"' in html
    assert "background:{{ shop.color }}" in html
    assert html.index("{% if a %}") < html.index("Go") < html.index("{% endif %}")
    assert "gone" not in html


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("<p>no mjml</p>", "one <mjml> element"),
        (_FRAME.format("<mj-sektion></mj-sektion>"), "<mj-sektion> is no MJML element"),
        (_FRAME.format("<mj-include path='/etc/passwd'/>"), "<mj-include> is no MJML element"),
        (_FRAME.format("<mj-section>stray {{ text }}</mj-section>"), "stands between MJML elements"),
        (_FRAME.format('<mj-section {% if x %}padding="0"{% endif %}></mj-section>'), "between the attributes"),
        (_FRAME.format("<mj-section>"), "cannot be read"),
        (
            _FRAME.format("<mj-section><mj-column><mj-social>{{ x }}</mj-social></mj-column></mj-section>"),
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

    assert "fonts.googleapis.com" not in compile_mjml(_FRAME.format(plain)) + compile_mjml(named)
    assert "@import url(https://fonts.shop.example/lato.css)" in compile_mjml(named)


def test_a_layouts_defaults_may_go_unused_and_anything_else_that_would_be_lost_is_told() -> None:
    head = "<mjml><mj-head>{}</mj-head><mj-body>" + _TEXT.format("Hello") + "</mj-body></mjml>"
    defaults = '<mj-attributes><mj-button background-color="{{ shop.color }}"></mj-button></mj-attributes>'

    assert "shop.color" not in compile_mjml(head.format(defaults))
    with pytest.raises(MjmlError, match=r"shop.color .* would be lost"):
        compile_mjml(_FRAME.format('<mj-section colour="{{ shop.color }}"></mj-section>'))


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

    rendered = await renderer.render(email_content(template, [], layout=BUILT_IN["layout"]), context)

    assert template_findings(template) == []
    assert rendered.missing == ()
    assert "None" not in rendered.html + rendered.text + rendered.subject
    assert "https://l/u/t" in rendered.html
    assert "Unsubscribe: https://l/u/t" in rendered.text
    assert len(rendered.html) < 102 * 1024  # Gmail cuts longer messages
    assert ("€79.00" in rendered.html) is (data != "nothing")


# Nothing escapes, nothing hangs (G25) -----------------------------------------------------------------------

# From published advisories and payload lists: CVE-2016-10745, CVE-2019-10906, CVE-2024-56201, CVE-2024-56326,
# CVE-2025-27516, PayloadsAllTheThings "Jinja2", and what an author of e-mails might try.
ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ ''|attr('__class__') }}",
    "{{ ''|attr('\\x5f\\x5fclass\\x5f\\x5f') }}",
    "{{ request.application.__globals__ }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ joiner() }}",
    "{{ namespace() }}",
    "{{ dict(a=1) }}",
    "{{ '{0.__class__}'.format(customer) }}",
    "{{ '{0.__class__}'.format_map({'0': 1}) }}",
    "{{ ('{0.__class__}'|attr('format'))(customer) }}",
    "{{ ['{}'.format]|map('call')|list }}",
    "{{ customer|map(attribute='__class__')|list }}",
    "{{ [customer]|map('attr', '__class__')|list }}",
    "{{ [customer]|selectattr('__class__')|list }}",
    "{{ [customer]|groupby('__class__') }}",
    "{{ customer|xmlattr }}",
    "{{ customer|pprint }}",
    "{{ '<script>'|safe }}",
    "{{ customer|format }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% from 'x' import y %}",
    "{% extends 'x' %}",
    "{% block x %}{% endblock %}",
    "{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}",
    "{% call x() %}{% endcall %}",
    "{% filter upper %}x{% endfilter %}",
    "{% autoescape false %}{{ customer }}{% endautoescape %}",
    "{% with x = 1 %}{% endwith %}",
    "{% set ns = namespace(x=1) %}{% set ns.x = 2 %}",
    "{{ customer.traits.update({'a': 1}) }}",
    "{{ customer.items() }}",
    "{{ range.__class__ }}",
    "{{ loop.__class__ }}",
    "{% for x in range(3) recursive %}{{ loop(x) }}{% endfor %}",
    "{{ range(*[1]) }}",
    "{{ 2 ** 99999999 }}",
    "{{ x is foo }}",
    "{{ _language }}",
    "{{ undefined_function() }}",
]

HANGS = [
    "{% for a in range(1000) %}" * 3 + "{% endfor %}" * 3,
    "{% set a = 'x' * 10 %}",  # texts do not multiply
    "{% set a = 'xxxxxxxxxx' %}" + "{% set a = a ~ a ~ a ~ a ~ a ~ a ~ a ~ a %}" * 20 + "{{ a }}",
    "{{ 'a' * 1000000000 }}",
    "{{ [1] * 1000000000 }}",
    "{{ 'aaaaaaaaaa'|replace('a', 'aaaaaaaaaa')" + "|replace('a', 'aaaaaaaaaa')" * 12 + " }}",
    "{{ range(1000000000) }}",
    "{{ range(99999)|join }}",
    "{{ [1]|batch(1000000000, 'x')|first }}",
    "{{ [1]|slice(1000000000)|first }}",
    "{{ 99999999|round(99999999) }}",
    "{{ 'x'|truncate(10)" + "|upper" * 3_000 + " }}",
    "{{ " + "[" * 3_000 + "]" * 3_000 + " }}",
    "{{ " + "-" * 20_000 + "1 }}",
    "{% for a in range(999) %}{% for b in range(999) %}xxxxxxxxxx{% endfor %}{% endfor %}",
]


@pytest.mark.parametrize("payload", ESCAPES)
async def test_no_payload_gets_past_the_allow_list(renderer: Renderer, payload: str) -> None:
    with pytest.raises(TemplateFailed):
        await html_of(renderer, payload, customer={"traits": {}})


@pytest.mark.parametrize("payload", ESCAPES)
def test_no_payload_reaches_python_in_the_sandbox_alone(payload: str) -> None:
    """The second line by itself, without the allow-list before it."""
    try:
        rendered = Sandbox(autoescape=True).from_string(payload).render(customer={"traits": {}})
    except Exception:  # noqa: BLE001  any refusal is fine
        return
    assert not any(trace in rendered for trace in ("class", "root:", "uid=", "function", "object at", "<script>"))


@pytest.mark.parametrize("payload", HANGS)
async def test_no_payload_hangs_or_fills_the_renderer(renderer: Renderer, payload: str) -> None:
    begun = time.monotonic()

    with suppress(TemplateFailed):  # some cost nothing: what they make is never looked at
        assert len(await html_of(renderer, payload)) < 1_000

    assert time.monotonic() - begun < 8
    assert await html_of(renderer, "<p>fine</p>") == "<p>fine</p>"


async def test_a_deeply_nested_message_crashes_its_renderer_and_nothing_else(renderer: Renderer) -> None:
    deep = _FRAME.format(_TEXT.format("<b>" * 20_000 + "x" + "</b>" * 20_000))

    with pytest.raises(TemplateFailed) as caught:
        await renderer.render(content(None, mjml=deep), {})

    assert caught.value.code == "template_crashed"
    assert await html_of(renderer, "<p>fine</p>") == "<p>fine</p>"


async def test_an_abandoned_render_leaves_no_reply_for_the_next_one(renderer: Renderer) -> None:
    slow = "{% for a in range(1000) %}{% for b in range(200) %}{{ b }}{% endfor %}{% endfor %}"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await html_of(renderer, slow)

    assert await html_of(renderer, "<p>mine</p>") == "<p>mine</p>"


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL, signal.SIGTERM])
async def test_a_renderer_that_is_stopped_or_killed_is_replaced_and_the_message_is_rendered(
    number: signal.Signals,
) -> None:
    renderer = Renderer(processes=1, limits=RenderLimits(patience=2.0))
    await renderer.start()
    await html_of(renderer, "<p>warm</p>")
    (child,) = renderer._living
    os.kill(child._process.pid, number)

    assert await html_of(renderer, "<p>{{ 1 + 1 }}</p>") == "<p>2</p>"

    assert child not in renderer._living
    await renderer.close()


async def test_a_machine_too_busy_to_render_says_nothing_of_the_template() -> None:
    renderer = Renderer(processes=1, limits=RenderLimits(patience=0.001))

    with pytest.raises(Unavailable) as caught:
        await html_of(renderer, "<p>fine</p>")

    assert caught.value.code == "renderer_busy"
    await renderer.close()


async def test_a_worker_that_stands_still_while_rendering_renders_when_it_goes_on() -> None:
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", _STOPPED_WORKER, stdout=asyncio.subprocess.PIPE)
    assert worker.stdout is not None
    assert await worker.stdout.readline() == b"rendering\n"
    worker.send_signal(signal.SIGSTOP)
    await asyncio.sleep(1.5)  # longer than its patience
    worker.send_signal(signal.SIGCONT)

    said = await worker.stdout.read()

    assert (said, await worker.wait()) == (b"<p>rendered</p>\n", 0)


async def test_a_template_that_burns_its_cpu_time_is_too_slow_however_patient_we_are() -> None:
    renderer = Renderer(processes=1, limits=RenderLimits(cpu=0.2, patience=60.0))

    with pytest.raises(TemplateFailed) as caught:
        await html_of(renderer, "{% for a in range(1000) %}" * 3 + "x" + "{% endfor %}" * 3)

    assert caught.value.code == "template_too_slow"
    await renderer.close()


async def test_the_output_is_capped() -> None:
    renderer = Renderer(processes=1, limits=RenderLimits(output=1_000))
    with pytest.raises(TemplateFailed) as caught:
        await html_of(renderer, "{% for a in range(999) %}xx{% endfor %}")
    await renderer.close()

    assert caught.value.code == "template_too_large"


async def test_a_renderer_knows_no_secret_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERENNIAL_SENDGRID_API_KEY", "SG.canary")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/python/lib")
    renderer = Renderer(processes=1)
    await renderer.start()
    (child,) = renderer._living
    environment = Path(f"/proc/{child._process.pid}/environ")
    if not environment.exists():
        pytest.skip("only Linux shows the environment of a process")
    assert environment.read_bytes() == b"LD_LIBRARY_PATH=/opt/python/lib\0"
    await renderer.close()
    assert not Path(f"/proc/{child._process.pid}").exists() or os.name != "posix"


def test_sandbox_and_allow_list_name_the_same_filters_and_tests() -> None:
    sandbox = Sandbox(autoescape=True)

    assert set(sandbox.filters) == FILTERS
    assert set(sandbox.tests) == TESTS


@pytest.mark.parametrize("source", ["{{ frist_name }}", "{% set a = b %}"])
def test_a_name_from_nowhere_is_a_warning(source: str) -> None:
    (fault,) = faults(source)
    assert (fault.code, fault.severity) == ("unknown_variable", "warning")
