"""MJML to HTML once for each version of a template, with its Jinja2 expressions carried through untouched.

Compiling MJML takes many times as long as filling in a compiled template. So every Jinja2 construct is hidden behind
a word, MJML is compiled, and the constructs are put back. A construct between MJML elements (a loop around sections)
travels in an `mj-raw`. MJML therefore sees each loop's body once: columns inside a loop need a `width` of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import mrml
from jinja2 import Environment, TemplateSyntaxError

_LEXER = Environment(autoescape=True)  # only splits sources into pieces
_DEFAULTS = re.compile(r"<mj-attributes>.*?</mj-attributes>", re.DOTALL)
_TAG = re.compile(r"<!--.*?-->|<(/?)([a-zA-Z][\w-]*)((?:[^<>\"']|\"[^\"]*\"|'[^']*')*?)(/?)>", re.DOTALL)

# MJML's own web fonts would make every reader's mail program ask a third party; authors may name theirs by mj-font.
_NO_WEB_FONTS = mrml.RenderOptions(fonts={})

# Elements whose content is free text or HTML; the content of all others is MJML elements.
_FREE = frozenset({
    "mj-text", "mj-button", "mj-table", "mj-raw", "mj-title", "mj-preview", "mj-style", "mj-navbar-link",
    "mj-social-element", "mj-accordion-title", "mj-accordion-text",
})  # fmt: skip
_KNOWN = _FREE | {
    "mjml", "mj-head", "mj-body", "mj-attributes", "mj-all", "mj-class", "mj-breakpoint", "mj-font",
    "mj-html-attributes", "mj-selector", "mj-html-attribute", "mj-wrapper", "mj-section", "mj-group",
    "mj-column", "mj-hero", "mj-image", "mj-divider", "mj-spacer", "mj-navbar", "mj-social", "mj-accordion",
    "mj-accordion-element", "mj-carousel",
    "mj-carousel-image",
}  # fmt: skip


class MjmlError(Exception):
    """The MJML cannot be compiled; the message is one sentence for its author."""


class Disguise:
    """Hides the Jinja2 constructs of a source behind words that MJML and HTML parsers leave alone."""

    def __init__(self, source: str) -> None:
        self._stem = next(stem for n in range(1_000) if (stem := f"jinja{n}x") not in source)
        self._constructs: list[str] = []
        self.text = "".join(self._pieces(source))
        self._words = re.compile(rf"{self._stem}(\d+)z")

    def _pieces(self, source: str) -> Iterator[str]:
        try:
            tokens = list(_LEXER.lex(source))
        except TemplateSyntaxError as error:
            raise MjmlError(f"Line {error.lineno}: {error.message}") from None
        construct = ""
        for _, kind, text in tokens:
            if kind == "data" and not construct:
                yield text
            elif kind in ("block_end", "variable_end", "raw_begin", "raw_end"):
                self._constructs.append(construct + text)
                construct = ""
                yield f"{self._stem}{len(self._constructs) - 1}z"
            elif not kind.startswith("comment"):
                construct += text

    def words(self, text: str) -> list[str]:
        """The words in `text`, as they stand there."""
        return [match.group() for match in self._words.finditer(text)]

    def without_words(self, text: str) -> str:
        """`text` without the words."""
        return self._words.sub("", text)

    def lift(self, text: str) -> str:
        """`text` with the constructs back in their places."""
        return self._words.sub(lambda match: self._constructs[int(match.group(1))], text)

    def line_of(self, word: str) -> str:
        """The construct behind a word, shortened for a message."""
        construct = self.lift(word)
        return construct if len(construct) <= 60 else construct[:57] + "..."


def compile_mjml(source: str) -> str:
    """The HTML for an MJML source, Jinja2 kept. Raises MjmlError."""
    disguise = Disguise(source)
    start, end = disguise.text.find("<mjml"), disguise.text.rfind("</mjml>")
    if start < 0 or end < 0:
        raise MjmlError(
            "The MJML needs one <mjml> element around everything (or leave it out altogether to use the layout)."
        )
    end += len("</mjml>")
    # {% set %} before and after the document stays before and after.
    before, after = ("".join(disguise.words(part)) for part in (disguise.text[:start], disguise.text[end:]))
    wrapped = "".join(_wrapped(disguise, disguise.text[start:end]))
    try:
        html = mrml.to_html(wrapped, render_options=_NO_WEB_FONTS).content
    except OSError as error:
        raise MjmlError(f"The MJML cannot be read: {error}") from None
    kept = set(disguise.words(before + html + after))
    # Defaults in mj-attributes may go: they are for elements that this document need not have.
    for word in disguise.words(_DEFAULTS.sub("", disguise.text)):
        if word not in kept:
            raise MjmlError(f"{disguise.line_of(word)} stands where MJML takes no text, so it would be lost.")
    return disguise.lift(before + html + after)


def _wrapped(disguise: Disguise, text: str) -> Iterator[str]:
    """Puts words that stand between MJML elements into an mj-raw; refuses elements that MJML would drop in silence."""
    open_elements: list[str] = []
    position = 0
    for tag in _TAG.finditer(text):
        yield _between(disguise, text[position : tag.start()], open_elements)
        position = tag.end()
        yield tag.group()
        name = tag.group(2)
        if name is None or (open_elements and open_elements[-1] in _FREE and name != open_elements[-1]):
            continue  # a comment, or HTML inside an element of free content
        _check(disguise, name, tag.group(3))
        if tag.group(1):
            if open_elements and open_elements[-1] == name:
                open_elements.pop()
        elif not tag.group(4):
            open_elements.append(name)
    yield text[position:]


def _check(disguise: Disguise, name: str, attributes: str) -> None:
    if name not in _KNOWN:
        raise MjmlError(f"<{name}> is no MJML element that can be used here.")
    for word in disguise.words(re.sub(r"\"[^\"]*\"|'[^']*'", "", attributes)):
        raise MjmlError(
            f"{disguise.line_of(word)} stands between the attributes of <{name}>; put it into an attribute's value."
        )


def _between(disguise: Disguise, text: str, open_elements: list[str]) -> str:
    if not text.strip() or (open_elements and open_elements[-1] in _FREE):
        return text
    stray = disguise.without_words(text).strip()
    if stray:
        raise MjmlError(f"The text {stray[:60]!r} stands between MJML elements; put it into an <mj-text>.")
    return "".join(f"<mj-raw>{word}</mj-raw>" for word in disguise.words(text))
