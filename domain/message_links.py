"""The links of an e-mail's HTML, found by the rules that browsers read tags by (HTML standard, 13.2.5).

A parser for the whole document would take several times as long as rendering it, for every message, and seconds for
broken input (decision 0018). Everything but the targets that change stays as its author wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape, unescape
from html.entities import html5
from typing import Final

from domain.findings import Finding, Severity
from domain.link_hosts import LinkHosts, host_of, scheme_of

_VALUE: Final = r"""(?:"[^"]*+"|'[^']*+'|[^\s>"'<][^\s><]*+)"""
_TAG: Final = re.compile(
    rf"<(?:a|area)(?=[\s/])(?:[\s/]*+[^\s/><][^\s/><=]*+(?:\s*+=\s*+{_VALUE})?+)*+[\s/]*+>", re.IGNORECASE
)
_ATTRIBUTE: Final = re.compile(rf"[\s/]*+(?P<name>[^\s/><][^\s/><=]*+)(?:\s*+=\s*+(?P<value>{_VALUE}))?+")
_NAME: Final = re.compile(r"<\w+")
_REFERENCE: Final = re.compile(r"&(?:(#[0-9]+;?|#[xX][0-9a-fA-F]+;?)|(\w+;|\w+(?![\w=])))")
_NOWHERE: Final = "#"
_NAMED: Final = re.compile(r": (\S+)")
"""What may be the address of a link in a text part, behind the link's words."""


def led(html: str, lead: Callable[[str], str]) -> str:
    """The HTML with the target of each link as `lead` says; a target that it leaves alone stands as it was written."""
    return _TAG.sub(lambda tag: _led_tag(tag.group(), lead), html)


def targets(html: str) -> list[str]:
    """Where the links lead, in order."""
    found: list[str] = []

    def note(target: str) -> str:
        found.append(target)
        return target

    led(html, note)
    return found


def lead_links(html: str, base: str, hosts: LinkHosts, new_token: Callable[[str], str] | None) -> str:
    """The links as a message has them: through `/c/<token>` where `new_token` is given and makes a token for a target.

    Uncounted stay our own links (unsubscribe, preferences, view), all that are not http, and links to other hosts than
    `hosts`: they lead there themselves. What could run code, and schemes that no author wrote out, lead nowhere.
    """

    def lead(target: str) -> str:
        if not hosts.keep(target):
            return _NOWHERE
        is_counted = new_token is not None and not target.startswith(f"{base}/") and hosts.allow(target)
        return f"{base}/c/{new_token(target)}" if new_token is not None and is_counted else target

    return led(html, lead)


def without_refused(text: str, html: str, hosts: LinkHosts) -> str:
    """The text part without the addresses of links that lead nowhere in the HTML: programs make links of them."""
    if all(hosts.keep(address) for address in _NAMED.findall(text)):
        return text
    for target in sorted({each for each in targets(html) if not hosts.keep(each)}, key=len, reverse=True):
        text = text.replace(f": {' '.join(target.split())}", "")
    return text


def link_findings(html: str, hosts: LinkHosts, pointer: str) -> list[Finding]:
    """Links of a rendered sample that will lead nowhere in a mail."""
    found = {target: fault for target in targets(html) if (fault := _fault_of(target, hosts)) is not None}
    return [
        Finding(code=code, severity=Severity.WARNING, pointer=pointer, message=f"The link {target[:100]} {words}")
        for target, (code, words) in found.items()
    ]


def _fault_of(target: str, hosts: LinkHosts) -> tuple[str, str] | None:
    if not hosts.keep(target):
        return "link_refused", "leads nowhere: it could run code, or only data names its scheme; write the scheme out."
    if scheme_of(target) is None and target and not target.startswith("#"):
        return "link_relative", "leads nowhere in a mail; write it with https:// and the host."
    if scheme_of(target) in ("http", "https") and host_of(target) is None:
        return "link_unclear", "is not counted; write https://, the host and the path, with %20 for a space."
    return None


def _led_tag(tag: str, lead: Callable[[str], str]) -> str:
    """Of several attributes of one name the first counts."""
    attributes = _ATTRIBUTE.finditer(_NAME.sub(lambda name: " " * len(name.group()), tag, count=1))
    href = next((each for each in attributes if each["name"].lower() == "href"), None)
    if href is None or href["value"] is None:
        return tag
    target = _decoded(href["value"]).strip()
    to = lead(target)
    return tag if to == target else f'{tag[: href.start("value")]}"{escape(to)}"{tag[href.end("value") :]}'


def _decoded(value: str) -> str:
    """What a browser reads: `&copy=` in a query is a parameter, not a sign."""
    text = value[1:-1] if value[0] in "\"'" else value
    return _REFERENCE.sub(lambda each: unescape(each.group()) if each[1] else html5.get(each[2], each.group()), text)
