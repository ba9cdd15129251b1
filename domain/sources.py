"""Names of sources: under which of them events come in is the identity that message ids are unique within."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from domain.keys import KeyKind, StoredKey
from domain.lookalikes import look
from domain.mailboxes import folded

RESERVED: Final = frozenset({"perennial", "import", "api", "meta", "sendgrid"})
"""Under which the product itself records: no key may have them."""
_RESERVED_LOOKS: Final = frozenset(look(name) for name in RESERVED)


def is_reserved(source: str) -> bool:
    """Whether a source is one of ours, or would be read as one."""
    return look(source) in _RESERVED_LOOKS


def is_taken(source: str, others: Iterable[str]) -> bool:
    """Whether another source has this name, whatever its case, width, blanks and invisible characters."""
    return folded(source) in {folded(other) for other in others}


def parted(source: str, key_id: str) -> str:
    """The source of a browser key that bears the name of a server's: its message ids stand apart."""
    return f"{source} (browser {key_id})"


def clashes(keys: Collection[StoredKey]) -> list[str]:
    """Keys in use, made before names were unique, that share a source across kinds or have a reserved one."""
    live = [key for key in keys if key.revoked_at is None]
    found = [f"{key.id} {key.name}: the source {key.source} is reserved" for key in live if is_reserved(key.source)]
    servers = [key for key in live if key.kind is KeyKind.SECRET]
    for browser in (key for key in live if key.kind is KeyKind.BROWSER):
        found += [
            f"{browser.id} {browser.name} (browser) and {server.id} {server.name}: one source, {server.source}"
            for server in servers
            if is_taken(browser.source, [server.source])
        ]
    return found
