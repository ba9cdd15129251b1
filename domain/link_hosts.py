"""Where a message's links may lead: through ours to hosts that its author wrote out, the shop's own and listed ones.

A host that comes from a customer's traits or events is none of these: under our domain its link would be a redirect to
wherever somebody likes. Nor does their data choose which program a link opens: schemes that not every phone knows are
kept where the author wrote them out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit

from domain.mailboxes import ascii_domain

# An address whose host is followed by its end: nothing that is filled in can make the host a longer one.
_WRITTEN_OUT: Final = re.compile(r"https?://([^\s\"'<>{}\\/?#@]+)(?=[\s\"'<>/?#]|$)", re.IGNORECASE)
_SCHEME_WRITTEN_OUT: Final = re.compile(r"[\"'=]\s*([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_UNREAD: Final = re.compile(r"[\t\n\r]")  # browsers pass over them wherever they stand
_AROUND: Final = "".join(map(chr, range(0x21)))
_COMMON: Final = frozenset({"http", "https", "mailto", "tel", "sms", "whatsapp", "tg", "viber", "geo", "webcal"})
_RUNS_CODE: Final = frozenset(
    {"javascript", "vbscript", "livescript", "data", "blob", "file", "filesystem", "about", "view-source", "jar"}
)
_READ_DIFFERENTLY: Final = re.compile(r"[\\\x00-\x20]")  # browsers, other programs and we may see other hosts then


def host_of(address: str) -> str | None:
    """The host that a browser would ask for an http address, in ASCII; None for what is none, or names a user."""
    written = address.strip(" ")
    if _READ_DIFFERENTLY.search(written):
        return None
    try:
        parts = urlsplit(written)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc or "%" in host:
        return None
    return ascii_domain(host) or None


def scheme_of(address: str) -> str | None:
    """The scheme that a browser would read, in small letters; None for an address that is relative to another one."""
    found = _SCHEME.match(_UNREAD.sub("", address.strip(_AROUND)))
    return found[1].lower() if found else None


@dataclass(frozen=True, slots=True)
class LinkHosts:
    """`written` are hosts as they stand; of `domains` every host below counts too. `schemes` are those written out."""

    written: frozenset[str]
    domains: frozenset[str]
    schemes: frozenset[str]

    @classmethod
    def of(cls, sources: Iterable[str], *, website: str | None, domains: Iterable[str]) -> Self:
        """From the texts of a template and its layout, and from what the settings say of the shop."""
        texts = list(sources)
        schemes = frozenset(each.lower() for text in texts for each in _SCHEME_WRITTEN_OUT.findall(text))
        found = {host_of(f"https://{host}/") for text in texts for host in _WRITTEN_OUT.findall(text)}
        own = host_of(website) if website else None
        listed = {ascii_domain(domain) for domain in domains} | ({own.removeprefix("www.")} if own else set())
        return cls(frozenset(host for host in found if host), frozenset(domain for domain in listed if domain), schemes)

    def keep(self, address: str) -> bool:
        """Whether a link there may stand in a message at all."""
        scheme = scheme_of(address)
        return scheme is None or scheme in _COMMON or (scheme in self.schemes and scheme not in _RUNS_CODE)

    def allow(self, address: str) -> bool:
        """Whether a link there may be led through ours."""
        host = host_of(address)
        if host is None:
            return False
        return host in self.written or any(host == domain or host.endswith(f".{domain}") for domain in self.domains)
