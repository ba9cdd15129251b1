"""The template document as marketers write it, and the one content that a message of a given language is made from.

What Jinja2 may be used in it is domain/template_language.py; rendering is connectors/rendering/.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from domain.document import Document
from domain.documents import DOCUMENT_KEY
from domain.languages import Language, canonical
from domain.template_senders import TemplateSender

SOURCE_LIMIT = 256 * 1024
"""Characters of one source; the largest e-mail that Gmail shows uncut has 102 KB."""
LAYOUT = "layout"
"""The template that frames every MJML body without an `<mjml>` root of its own."""
CONTENT_MARK = "<!-- content -->"
"""Where the layout takes the body in."""
BARE_LAYOUT = f"<mjml><mj-body>{CONTENT_MARK}</mj-body></mjml>"
"""What a block is looked at in."""
_BLOCK_MARK: Final = re.compile(r"<!--\s*block:\s*([a-z][a-z0-9-]{1,62})\s*-->")
"""Where a body takes a shared block in."""

Source = Annotated[str, StringConstraints(max_length=SOURCE_LIMIT)]
Line = Annotated[str, StringConstraints(max_length=1_000)]


class Wording(Document):
    """What may differ by language; what is absent is taken from the template itself."""

    subject: Line | None = None
    preheader: Line | None = None
    mjml: Source | None = None
    html: Source | None = None
    text: Source | None = None

    @model_validator(mode="after")
    def _has_one_body(self) -> Self:
        if self.mjml is not None and self.html is not None:
            raise ValueError("write mjml or html, not both")
        return self


class TemplateDocument(Wording):
    """One template. `sample` is a context to preview it with; `locales` maps a language to its wording, `language` is
    that of the template's own wording, the shop's if absent. A `block` is a part that other templates show.

    A webhook's template has `url`, `body` (JSON whose strings may use expressions) and `headers` instead of wording.
    """

    template: str = Field(pattern=DOCUMENT_KEY)
    channel: Literal["email", "push", "sms", "webhook"] = "email"
    name: str | None = Field(default=None, max_length=200)
    description: str | None = Field(default=None, max_length=2_000)
    sample: dict[str, Any] = Field(default={})  # any JSON: customer, entry, saved, ...
    language: Language | None = None
    sender: TemplateSender | None = None
    block: bool = False
    locales: dict[Language, Wording] = Field(default={})
    url: Line | None = None
    body: dict[str, Any] | None = None  # any JSON
    headers: dict[str, Line] = Field(default={})

    def sources(self) -> dict[str, str]:
        """Every text that may hold Jinja2, by its JSON pointer."""
        wordings: dict[str, Wording] = {"": self} | {f"/locales/{language}": w for language, w in self.locales.items()}
        found = {
            f"{pointer}/{field}": text
            for pointer, wording in wordings.items()
            for field in Wording.model_fields
            if (text := getattr(wording, field)) is not None
        }
        if self.url is not None:
            found["/url"] = self.url
        return found | dict(_strings(self.body, "/body")) | dict(_strings(self.headers, "/headers"))


@dataclass(frozen=True, slots=True)
class Frame:
    """What a body stands in, and what it takes in: the layout and the shared blocks by key, as published now."""

    layout: TemplateDocument | None = None
    blocks: Mapping[str, TemplateDocument] = field(default_factory=dict)

    def documents(self) -> list[TemplateDocument]:
        """All of them."""
        return [*([self.layout] if self.layout else []), *self.blocks.values()]


@dataclass(frozen=True, slots=True)
class EmailContent:
    """One e-mail in one language, ready to render. At most one of `mjml` and `html`, from which a `text` of None is
    made; with neither it is an e-mail of text only.
    """

    subject: str
    preheader: str = ""
    mjml: str | None = None
    html: str | None = None
    text: str | None = None
    language: str = "en"


def sort_of(template: Mapping[str, Any]) -> str:
    """What a published template is to those who use it: a block that they show, or what they send on its channel."""
    return "a block" if template.get("block") else f"a template for {template.get('channel', 'email')}"


def takes_layout(template: TemplateDocument) -> bool:
    """Whether the layout frames it, in any of its languages."""
    bodies = [wording.mjml for wording in (template, *template.locales.values()) if wording.mjml is not None]
    return template.template != LAYOUT and any(_is_a_part(mjml) for mjml in bodies)


def _is_a_part(mjml: str) -> bool:
    return "<mjml" not in mjml.lower()


def blocks_of(templates: Iterable[TemplateDocument]) -> set[str]:
    """The keys of the shared blocks that these bodies take in."""
    bodies = (body for each in templates for wording in (each, *each.locales.values()) for body in _bodies(wording))
    return {key for body in bodies for key in _BLOCK_MARK.findall(body)}


def has_block_mark(text: str) -> bool:
    """Whether a text would take a block in, if it were a body of MJML or HTML."""
    return _BLOCK_MARK.search(text) is not None


def blocks_without_html(template: TemplateDocument, blocks: Mapping[str, TemplateDocument]) -> set[str]:
    """The keys of blocks that an HTML body shows, and that have only MJML, which it cannot take in."""
    bodies = [wording.html for wording in (template, *template.locales.values()) if wording.html is not None]
    shown = {key for body in bodies for key in _BLOCK_MARK.findall(body)}
    return {key for key in shown if key in blocks and blocks[key].html is None}


def _bodies(wording: Wording) -> list[str]:
    return [body for body in (wording.mjml, wording.html) if body is not None]


def email_content(
    template: TemplateDocument,
    languages: Iterable[str],
    *,
    frame: Frame,
    shop_language: str = "en",
) -> EmailContent:
    """The wording for the first of `languages` (`de_AT`, `de-AT`) that the template has, also by its main language.

    If it has none of them: in the shop's language, else as the template itself is written.
    """
    language, wording = _wording(template, (*languages, shop_language), template.language or shop_language)
    own_body = wording.mjml is not None or wording.html is not None
    mjml, html = (wording.mjml, wording.html) if own_body else (template.mjml, template.html)
    if mjml is not None and _is_a_part(mjml) and frame.layout is not None and frame.layout.mjml is not None:
        mjml = frame.layout.mjml.replace(CONTENT_MARK, mjml)
    spoken = (language, shop_language)
    return EmailContent(
        subject=_first(wording.subject, template.subject) or "",
        preheader=_first(wording.preheader, template.preheader) or "",
        mjml=None if mjml is None else _with_blocks(mjml, frame.blocks, spoken, is_mjml=True),
        html=None if html is None else _with_blocks(html, frame.blocks, spoken, is_mjml=False),
        # A translated body never goes out with the untranslated text part.
        text=wording.text if own_body else _first(wording.text, template.text),
        language=language,
    )


def _with_blocks(
    body: str, blocks: Mapping[str, TemplateDocument], languages: tuple[str, str], *, is_mjml: bool
) -> str:
    """The body with its marks replaced by blocks in the body's language, else the shop's; an MJML body takes HTML as
    well. A mark of a block that is not there stays, which nobody sees.
    """

    def block(mark: re.Match[str]) -> str:
        if (found := blocks.get(mark[1])) is None:
            return mark[0]
        _, wording = _wording(found, languages, found.language or languages[1])
        candidates = [wording.mjml, wording.html, found.mjml, found.html] if is_mjml else [wording.html, found.html]
        return _first(*candidates) or mark[0]

    return _BLOCK_MARK.sub(block, body)


def _wording(template: TemplateDocument, languages: Iterable[str], own: str) -> tuple[str, Wording]:
    known: dict[str, tuple[str, Wording]] = {canonical(own): (own, template)}
    known |= {canonical(language): (language, wording) for language, wording in template.locales.items()}
    for language in map(canonical, languages):
        for candidate in (language, language.split("-")[0]):
            if candidate in known:
                return known[candidate]
    return own, template


def _first(*values: str | None) -> str | None:
    return next((value for value in values if value is not None), None)


def _strings(value: object, pointer: str) -> Iterable[tuple[str, str]]:
    """The strings of a JSON value with their pointers."""
    if isinstance(value, str):
        yield pointer, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _strings(inner, f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _strings(inner, f"{pointer}/{index}")
