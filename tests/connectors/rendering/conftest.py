"""A rendering process, and what it is given."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from connectors.rendering import Renderer
from domain.templates import EmailContent

FRAME = "<mjml><mj-body>{}</mj-body></mjml>"
TEXT = "<mj-section><mj-column><mj-text>{}</mj-text></mj-column></mj-section>"


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
