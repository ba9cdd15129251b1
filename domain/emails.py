"""An e-mail on its way out: its headers, its own links, its opening picture. Pure; sending is connectors/."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.errors import MessageError
from email.header import decode_header, make_header
from email.utils import parseaddr
from html import escape, unescape
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class OutgoingEmail:
    """One e-mail as a provider takes it. `message_id` travels along, so that reports find their way back; without
    `html` it is one of text only.
    """

    message_id: UUID
    to: str
    sender_name: str
    sender_address: str
    subject: str
    html: str
    text: str
    headers: Mapping[str, str]
    categories: tuple[str, ...] = ()


def sender_line(name: str, address: str) -> str:
    """Name and address in one text, as people read them; back again by `sender_of`."""
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}" <{address}>' if name else address


def sender_of(line: str) -> tuple[str, str]:
    """Name and address; names that were stored in the form of mail headers (RFC 2047) are read as well."""
    name, address = parseaddr(line)
    try:
        return str(make_header(decode_header(name))), address
    except (LookupError, ValueError, MessageError):  # it only looks like one
        return name, address


@dataclass(frozen=True, slots=True)
class OutgoingWebhook:
    """One message of the webhook channel."""

    message_id: UUID
    url: str
    body: Mapping[str, Any]  # any JSON
    headers: Mapping[str, str]


Outgoing = OutgoingEmail | OutgoingWebhook


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a message's own links lead, under the shop's link base."""

    base: str
    unsubscribe: str  # token
    view: str  # token

    def links(self) -> dict[str, str]:
        """The `links` of a template's context."""
        preferences = f"{self.base}/u/{self.unsubscribe}"
        return {
            "unsubscribe": preferences,
            "preferences": preferences,
            "confirm": f"{preferences}/confirm",
            "view": f"{self.base}/v/{self.view}",
        }


def list_headers(addresses: Addresses) -> dict[str, str]:
    """One-click unsubscription for the inbox's own button (RFC 2369, RFC 8058)."""
    return {
        "List-Unsubscribe": f"<{addresses.links()['unsubscribe']}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


_OPEN_PICTURE = re.compile(r'<img src="[^"<>]*/o/[A-Za-z0-9_-]+" width="1" height="1"[^<>]*>')
_BODY_END = re.compile(r"</body\s*>", re.IGNORECASE)


def with_open_picture(html: str, address: str) -> str:
    """The invisible picture whose loading tells of an opening, at the end of the body."""
    picture = f'<img src="{escape(address)}" width="1" height="1" alt="" style="display:block;border:0;">'
    return _before_body_end(html, picture)


def without_open_picture(html: str) -> str:
    """The message as colleagues may look at it without counting as its reader."""
    return _OPEN_PICTURE.sub("", html)


def with_unsubscribe_link(html: str, text: str, addresses: Addresses, word: str) -> tuple[str, str]:
    """Marketing shows a way out in its body, also where the template's author forgot it; `word` says what it does."""
    links = addresses.links()
    if html and links["unsubscribe"] not in unescape(html):
        words = f'<a href="{escape(links["unsubscribe"])}" style="color:#6b7280;">{escape(word)}</a>'
        html = _before_body_end(html, f'<p style="text-align:center;font:12px Arial,sans-serif;">{words}</p>')
    if links["unsubscribe"] not in text:
        text = f"{text.rstrip()}\n\n{word}: {links['unsubscribe']}\n"
    return html, text


def _before_body_end(html: str, addition: str) -> str:
    ends = list(_BODY_END.finditer(html))
    if not ends:
        return html + addition
    return html[: ends[-1].start()] + addition + html[ends[-1].start() :]
