"""The text part of an e-mail, made from its HTML: links with their addresses, lists with dashes, nothing hidden."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from domain.message_links import targets

_BLOCKS = frozenset(
    {
        "p",
        "div",
        "table",
        "tr",
        "ul",
        "ol",
        "li",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "blockquote",
        "section",
        "header",
        "footer",
        "center",
    }
)
_PARAGRAPHS = frozenset({"p", "ul", "ol", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "hr", "table"})
_UNSEEN = frozenset({"head", "style", "script", "title", "template"})
_VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
)
_HIDDEN = re.compile(r"display\s*:\s*none", re.IGNORECASE)


def plain_text(html: str) -> str:
    """The readable text of an HTML e-mail; at most one empty line in a row."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return tidy("".join(reader.parts))


def tidy(text: str) -> str:
    """Lines without spaces around them, never two empty lines in a row, one line break at the end."""
    lines = [" ".join(line.split()) for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n") + "\n"


def _is_hidden(attributes: dict[str, str | None]) -> bool:
    return attributes.get("aria-hidden") == "true" or bool(_HIDDEN.search(attributes.get("style") or ""))


class _Reader(HTMLParser):
    """Collects text; comments (Outlook's conditional ones too) are passed over by the parser itself."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._unseen: list[str] = []  # open elements from the first unseen one inwards
        self._links: list[tuple[str, int]] = []  # address and where its text begins

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if self._unseen or tag in _UNSEEN or _is_hidden(attributes):
            if tag not in _VOID:
                self._unseen.append(tag)
            return
        self._break(tag)
        match tag:
            case "br":
                self.parts.append("\n")
            case "li":
                self.parts.append("- ")
            case "img":
                self.parts.append(attributes.get("alt") or "")
            case "a":
                # The parser would read `&reg=` in an address as a sign, which browsers do not.
                address = next(iter(targets(self.get_starttag_text() or "")), attributes.get("href") or "")
                self._links.append((address, len(self.parts)))
            case _:
                pass

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if self._unseen:
            if tag in self._unseen:
                del self._unseen[len(self._unseen) - 1 - self._unseen[::-1].index(tag) :]
            return
        if tag == "a" and self._links:
            self._end_link(*self._links.pop())
        elif tag in ("td", "th"):
            self.parts.append(" ")
        self._break(tag)

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.parts.append(re.sub(r"\s+", " ", data))

    def _break(self, tag: str) -> None:
        if tag in _BLOCKS or tag in _PARAGRAPHS:
            self.parts.append("\n\n" if tag in _PARAGRAPHS else "\n")

    def _end_link(self, address: str, begin: int) -> None:
        words = " ".join("".join(self.parts[begin:]).split())
        if words and address and address != words and not address.startswith("#"):
            self.parts.append(f": {address} ")
