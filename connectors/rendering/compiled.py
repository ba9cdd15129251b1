"""A template compiled once and filled in many times: subject, preheader, HTML and text, each a Jinja2 template."""

from __future__ import annotations

import html as html_escapes
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any  # contexts are any JSON

from jinja2 import Template

from connectors.rendering.formats import LANGUAGE
from connectors.rendering.mjml import Disguise, compile_mjml
from connectors.rendering.plain_text import plain_text, tidy
from connectors.rendering.sandbox import Sandbox

_HTML = Sandbox(autoescape=True)
_PLAIN = Sandbox(autoescape=False)

# Shown by inboxes beside the subject. The filler keeps them from going on with the first words of the body.
_PREHEADER = (
    '<div style="display:none;font-size:1px;line-height:1px;max-height:0;max-width:0;opacity:0;overflow:hidden;'
    'mso-hide:all;">{preheader}' + "&#847;&zwnj;&nbsp;" * 60 + "</div>"
)


@dataclass(frozen=True, slots=True)
class CompiledEmail:
    """One e-mail in one language."""

    subject: Template
    preheader: Template
    html: Template
    text: Template
    language: str

    def fill(self, context: Mapping[str, Any]) -> dict[str, str]:
        """Subject and preheader on one line each, HTML and text."""
        variables = {**context, LANGUAGE: self.language}
        return {
            "subject": _one_line(self.subject.render(variables)),
            "preheader": _one_line(self.preheader.render(variables)),
            "html": self.html.render(variables),
            "text": tidy(self.text.render(variables)),
        }


def compile_email(content: Mapping[str, Any]) -> CompiledEmail:
    """Compile an EmailContent (as a mapping). Raises MjmlError and Jinja2's syntax errors."""
    language = str(content["language"])
    html = compile_mjml(content["mjml"]) if content.get("mjml") is not None else str(content.get("html") or "")
    text = content.get("text")
    if text is None:
        text = _text_source(html)
    html = _with_language(_with_preheader(html, str(content["preheader"])), language)
    return CompiledEmail(
        subject=_PLAIN.from_string(content["subject"]),
        preheader=_PLAIN.from_string(content["preheader"]),
        html=_HTML.from_string(html),
        text=_PLAIN.from_string(text),
        language=language,
    )


def fill_strings(value: Any, context: Mapping[str, Any]) -> Any:
    """Any JSON value with its strings filled in; a string that is a single `{{ expression }}` becomes a typed value."""
    if isinstance(value, str):
        return _fill_string(value, context)
    if isinstance(value, dict):
        return {key: fill_strings(inner, context) for key, inner in value.items()}
    if isinstance(value, list):
        return [fill_strings(inner, context) for inner in value]
    return value


def _fill_string(source: str, context: Mapping[str, Any]) -> Any:
    if "{{" not in source and "{%" not in source:
        return source
    lone = re.fullmatch(r"\s*\{\{((?:(?!\{\{|\}\}|\{%).)*)\}\}\s*", source, re.DOTALL)
    if lone is not None:
        return _PLAIN.compile_expression(lone.group(1), undefined_to_none=True)(**context)
    return _PLAIN.from_string(source).render(context)


def _text_source(html: str) -> str:
    """The text part as a Jinja2 source of its own, made once: filling it in costs no HTML parsing."""
    disguise = Disguise(html)
    return disguise.lift(plain_text(disguise.text))


def _with_preheader(html: str, preheader: str) -> str:
    if not preheader.strip():
        return html
    hidden = _PREHEADER.replace("{preheader}", preheader if "{" in preheader else html_escapes.escape(preheader))
    return re.sub(r"<body[^>]*>", lambda body: body.group() + hidden, html, count=1, flags=re.IGNORECASE)


def _with_language(html: str, language: str) -> str:
    return html.replace('lang="und"', f'lang="{html_escapes.escape(language.replace("_", "-"))}"')


def _one_line(text: str) -> str:
    """Without line breaks: a subject is a header, and a line break in a header starts another one."""
    return " ".join(text.split())
