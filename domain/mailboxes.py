"""Which mailbox an address leads to, however it is written. For telling persons apart, never for sending."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Set
from typing import Final

import idna

from domain.mailbox_providers import at_provider

_DOTS: Final = re.compile("[\u3002\uff0e\uff61]")  # what IDNA takes for the dot between labels
_NAMED: Final = re.compile(r"[^<>]*<(?:@[^<>:]*:)?([^<>]+)>")  # Ann <ann@example.com>, also by way of <@a.example:...>
_COMMENT: Final = re.compile(r'("(?:[^"\\]|\\.)*")|\((?:[^()\\]|\\.)*\)')  # a quoted part cannot have one
_MOST_NESTED: Final = 5  # comments within each other
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
# Unicode's Default_Ignorable_Code_Point apart from the format characters (Cf): fillers and variation selectors; and
# the blank of Braille.
_IGNORABLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]"
)
_CONTROLS: Final = frozenset({"Cf", "Cc", "Cs"})
_BLANKS: Final = frozenset({"Zs", "Zl", "Zp"})


def visible(text: str) -> str:
    """A text in Unicode's compatibility form (NFKC), without blanks, control and ignorable characters."""
    return _without(text, _CONTROLS | _BLANKS)


def printed(text: str) -> str:
    """What is `visible` of a text, with the blanks between its words."""
    return _without(text, _CONTROLS).strip()


def _without(text: str, categories: Set[str]) -> str:
    plain = _IGNORABLE.sub("", unicodedata.normalize("NFKC", text))
    seen = "".join(each for each in plain if unicodedata.category(each) not in categories)
    return unicodedata.normalize("NFKC", seen)


def folded(text: str) -> str:
    """What is `visible` of a text, without the difference between capital and small letters."""
    return visible(visible(text).casefold())


def mailbox(address: str | None) -> str | None:
    """The mailbox behind an address; None if it is no address.

    Without quotes, comments, case and ignorable characters, without `+tag`; the domain in its ASCII form (UTS 46)
    without a final dot; at large providers one address for all of the mailbox (domain/mailbox_providers.py).
    """
    written = _bare(visible(address or "")).removeprefix("mailto:").strip(",;")
    if written.startswith("'") and written.endswith("'"):
        written = written.strip("'")
    named = _NAMED.fullmatch(written)
    local, at, domain = (named[1] if named else written).rpartition("@")
    local, domain = folded(_QUOTED.sub(_unquoted, local)), ascii_domain(domain)
    if not (local and at and domain):
        return None
    local = local.partition("+")[0] or local
    name, home = at_provider(local, domain)
    return f"{name}@{home}"


def _bare(address: str) -> str:
    """Without comments, which may stand within each other."""
    for _ in range(_MOST_NESTED):
        address = _COMMENT.sub(r"\1", address)
    return address


def _unquoted(quoted: re.Match[str]) -> str:
    return re.sub(r"\\(.)", r"\1", quoted[1])


def ascii_domain(domain: str) -> str:
    """A domain as it stands on the wire (UTS 46), without a final dot; one that no wire takes in small letters."""
    name = _DOTS.sub(".", visible(domain)).strip(".")
    try:
        return idna.encode(name, uts46=True).decode().lower()
    except (idna.IDNAError, UnicodeError):
        return name.casefold()
