"""Checks of outgoing calls: where they lead, and secrets that were written into a document for all to read.

They are made by the step `call`, by rewards that the shop delivers and by templates of the channel webhook.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from domain.findings import Finding, Severity
from domain.journeys.places import Place
from domain.journeys.steps import Call

_SECRET_NAMES = re.compile(
    r"^(proxy-)?authorization$|^cookie$|api[-_]?key|(^|[-_])(token|secret|password|passwd|signature|sig|credential)s?($|[-_])",
    re.IGNORECASE,
)
# The prefixes by which well-known providers make their keys recognisable, JSON web tokens, and bearer headers.
_SECRET_VALUES = re.compile(
    r"\b(sk_live_|sk_test_|rk_live_|sk-|ghp_|gho_|github_pat_|glpat-|xox[abprs]-|AKIA|ASIA|AIza|SG\.|whsec_|pk_[0-9a-z]+_)"
    r"[0-9A-Za-z_\-]{8,}|\beyJ[0-9A-Za-z_\-]{10,}\.|\b(?:bearer|basic)\s+[0-9A-Za-z+/=_\-.]{8,}",
    re.IGNORECASE,
)
_LITERAL = re.compile(r"""(?<!\[)("|')(?:(?!\1).){6,}\1""")
"""A text long enough to be a secret, written out within an expression."""
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_CONNECTION_HEADERS = frozenset(
    {"connection", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "proxy-connection"}
)
"""What two machines agree on for one connection (RFC 9110, 7.6.1): a document has no say in it."""
_LOCAL_NAMES = (".localhost", ".local", ".internal", ".intranet", ".lan", ".home.arpa")


def check_call(call: Call, place: Place, *, allow_private: bool) -> Iterator[Finding]:
    """What is wrong with a `call`, or a template of the channel webhook, apart from its expressions."""
    yield from _check_address(call.url, place, allow_private=allow_private)
    yield from _check_headers(call.headers, place)
    for where, name, value in _values(call):
        if _is_secret(name, value):
            message = "A document is no place for secrets: take this one out. Calls are known by their signature."
            yield Finding(code="secret_in_call", step=place.step, pointer=place.pointer + where, message=message)


def _check_address(url: str, place: Place, *, allow_private: bool) -> Iterator[Finding]:
    found = Finding(code="", severity=Severity.ERROR, step=place.step, pointer=place.pointer + "/url", message="")
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".").lower()
        _ = parts.port
    except ValueError:
        yield found.model_copy(update={"code": "url_malformed", "message": "Write a whole address: https://host/path."})
        return
    if "{" in parts.scheme + parts.netloc:
        message = "Write the host out; only the path and the query may hold {{ }}."
        yield found.model_copy(update={"code": "url_malformed", "message": message})
    elif not host or parts.scheme not in ({"http", "https"} if allow_private else {"https"}):
        message = "Calls go over https only: write an address that starts with https://."
        yield found.model_copy(update={"code": "url_not_https", "message": message})
    elif not allow_private and _is_private(host):
        message = "This address is within a private network, where calls never go: use one that the internet can reach."
        yield found.model_copy(update={"code": "url_private", "message": message})


def _check_headers(headers: Mapping[str, str], place: Place) -> Iterator[Finding]:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _CONNECTION_HEADERS or re.search(r"[\r\n\x00]", value):
            pointer = f"{place.pointer}/headers/{name.replace('~', '~0').replace('/', '~1')}"
            message = (
                "This header cannot be sent: use a plain name, one line of text, and none of the connection's own."
            )
            yield Finding(code="header_not_allowed", step=place.step, pointer=pointer, message=message)


def _is_private(host: str) -> bool:
    """By the name alone; what names resolve to is checked at every connection (connectors/webhook.py)."""
    if host == "localhost" or host.endswith(_LOCAL_NAMES):
        return True
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host or host.replace(".", "").isdecimal()


def _values(call: Call) -> Iterator[tuple[str, str, str]]:
    parts = urlsplit(call.url)
    for part in (parts.username, parts.password):
        if part is not None:
            yield "/url", "password", part
    for name, value in parse_qsl(parts.query):
        yield "/url", name, value
    yield "/url", "", parts.path
    yield "/url", "", parts.fragment
    for name, value in call.headers.items():
        yield f"/headers/{name}", name, value
    yield from _strings(call.body or {}, "/body", "")


def _strings(value: Any, where: str, name: str) -> Iterator[tuple[str, str, str]]:  # any JSON
    if isinstance(value, str):
        yield where, name, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _strings(inner, f"{where}/{key}", key)
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _strings(inner, f"{where}/{position}", name)


def _is_secret(name: str, value: str) -> bool:
    is_plain = "{{" in value and not _LITERAL.search(value)
    is_filled_in = is_plain and re.sub(r"\{\{.*?\}\}", "", value).strip().lower() in ("", "bearer", "basic")
    named = bool(_SECRET_NAMES.search(name)) and len(value.strip()) >= 6
    return not is_filled_in and (named or bool(_SECRET_VALUES.search(value)))
