"""Rendering in child processes: nothing escapes, hangs or fills them (G25)."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from connectors.rendering import Renderer, RenderLimits
from connectors.rendering.sandbox import Sandbox
from domain.errors import TemplateFailed, Unavailable
from tests.connectors.rendering.conftest import FRAME, TEXT, content, html_of

_STOPPED_WORKER = """
import asyncio
from connectors.rendering import Renderer, RenderLimits
from domain.templates import EmailContent

LOOP = "{% for a in range(1000) %}{% for b in range(400) %}{% endfor %}{% endfor %}"

async def work():
    renderer = Renderer(processes=1, limits=RenderLimits(cpu=30.0, patience=5.0))
    await renderer.render(EmailContent(subject="", html="warm"), {})
    asyncio.get_running_loop().call_later(0.01, lambda: print("rendering", flush=True))
    print((await renderer.render(EmailContent(subject="", html=LOOP + "<p>rendered</p>"), {})).html, flush=True)
    await renderer.close()

asyncio.run(work())
"""


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
    async with asyncio.timeout(120):
        with suppress(TemplateFailed):  # some cost nothing: what they make is never looked at
            assert len(await html_of(renderer, payload)) < 1_000

    assert await html_of(renderer, "<p>fine</p>") == "<p>fine</p>"


async def test_a_deeply_nested_message_crashes_its_renderer_and_nothing_else(renderer: Renderer) -> None:
    deep = FRAME.format(TEXT.format("<b>" * 20_000 + "x" + "</b>" * 20_000))

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
    renderer = Renderer(processes=1, limits=RenderLimits(patience=5.0))
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
    await asyncio.sleep(5.5)  # longer than its patience
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
