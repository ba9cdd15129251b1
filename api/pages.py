"""HTML pages for people without a key: rendered from templates/console/, locked down by a strict policy."""

from __future__ import annotations

from pathlib import Path

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader

from connectors.translations import Words, words_in

_FOLDER = Path(__file__).parent.parent / "templates" / "console"
_ENGLISH = words_in(())
_PAGES = Environment(loader=FileSystemLoader(_FOLDER), autoescape=True, trim_blocks=True, lstrip_blocks=True)

_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; form-action 'self'; frame-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
PRIVATE = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}
"""For answers whose address is a secret."""

# A message is a stranger's HTML: a sandbox without scripts, forms or an origin; pictures and its own styles only.
MESSAGE_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; "
    "img-src https: http: data:; font-src https:; base-uri 'none'; form-action 'none'"
)


def show(name: str, *, status: int = 200, words: Words = _ENGLISH, **values: object) -> HTMLResponse:
    """The page of that name, filled in, with the product's own words in a language."""
    content = _PAGES.get_template(f"{name}.html").render(words=words, **values)
    return HTMLResponse(content, status, headers=PRIVATE | {"Content-Security-Policy": _POLICY})


def show_message(html: str) -> HTMLResponse:
    """A message's own HTML, which cannot do anything."""
    return HTMLResponse(html, headers=PRIVATE | {"Content-Security-Policy": MESSAGE_POLICY})
