"""Renders per second of the built-in cart reminder, against bare Jinja2 with the same compiled HTML in one process.

Ours pays for the sandbox, for the generated text part and for the pipes to its killable children; it uses one child for
each core.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any  # contexts are any JSON

from jinja2 import ChainableUndefined, Environment, Template

from benchmarks.figure import Figure
from benchmarks.world import World
from connectors.rendering import Renderer
from connectors.rendering.formats import FORMATS, LANGUAGE
from connectors.rendering.mjml import compile_mjml
from domain.message_context import cart_context, customer_context, shop_context
from domain.shop_settings import ShopSettings
from domain.templates import LAYOUT, EmailContent, Frame, TemplateDocument, email_content
from perennial.builtins import read_templates
from perennial.settings import PROJECT

RENDERS = 2_000
SHOP = ShopSettings(name="Hollyhock & Rye", zone="Europe/Berlin", website="https://shop.example")
LINKS = {
    "unsubscribe": "https://e.example/u/1",
    "preferences": "https://e.example/u/2",
    "view": "https://e.example/v/1",
}


async def measure(world: World) -> Sequence[Figure]:
    """One row."""
    documents = read_templates(PROJECT / "templates" / "email")
    template = TemplateDocument.model_validate(documents["cart-reminder"])
    layout = TemplateDocument.model_validate(documents[LAYOUT])
    content = email_content(template, (), frame=Frame(layout))
    entry = template.sample["entry"]
    context = {
        "shop": shop_context(SHOP),
        "links": LINKS,
        "customer": customer_context("ann", template.sample["customer"]["traits"]),
        "entry": entry,
        "saved": {},
        "cart": cart_context(None, entry, SHOP),
    }
    ours = await _ours(content, context)
    floor = _bare(content, context)
    return [Figure("renders of the cart reminder", ours, "mails/s", floor, "bare Jinja2, HTML and subject")]


async def _ours(content: EmailContent, context: Mapping[str, Any]) -> float:
    cores = len(os.sched_getaffinity(0))
    renderer = Renderer(processes=cores)
    try:
        await asyncio.gather(*(renderer.render(content, context) for _ in range(10 * cores)))
        started = time.perf_counter()
        await asyncio.gather(*(renderer.render(content, context) for _ in range(RENDERS)))
        return RENDERS / (time.perf_counter() - started)
    finally:
        await renderer.close()


def _bare(content: EmailContent, context: Mapping[str, Any]) -> float:
    """HTML and subject only, compiled beforehand."""
    html = compile_mjml(content.mjml) if content.mjml is not None else content.html or ""
    templates = [_compiled(html, autoescape=True), _compiled(content.subject, autoescape=False)]
    variables = {**context, LANGUAGE: content.language}
    started = time.perf_counter()
    for _ in range(RENDERS):
        for template in templates:
            template.render(variables)
    return RENDERS / (time.perf_counter() - started)


def _compiled(source: str, *, autoescape: bool) -> Template:
    environment = Environment(autoescape=autoescape, undefined=ChainableUndefined)
    environment.filters |= FORMATS
    return environment.from_string(source)
