"""E-mail addresses and links as they stand on the wire, where other letters than ASCII have their own forms."""

from __future__ import annotations

from urllib.parse import quote, urlsplit, urlunsplit

import idna


def wire_address(address: str) -> str | None:
    """The address with its domain in ASCII (IDNA 2008, mapped by UTS 46); None if no domain can be called so.

    The part before the `@` is its server's affair and stays: see `needs_smtputf8`.
    """
    local, at, domain = address.strip().rpartition("@")
    name = wire_host(domain)
    return f"{local}@{name}" if at and local and name else None


def needs_smtputf8(address: str) -> bool:
    """Whether only servers with SMTPUTF8 (RFC 6531) can be told this address: it has other letters before the `@`."""
    return not address.rpartition("@")[0].isascii()


def wire_host(host: str) -> str | None:
    """A host's name in ASCII; None if there is no such name. What is ASCII already stays as it is written."""
    if host.isascii():
        return host or None
    try:
        return idna.encode(host, uts46=True).decode()
    except (idna.IDNAError, UnicodeError):
        return None


def wire_link(url: str) -> str:
    """A link in ASCII: the host by IDNA, other letters elsewhere percent-encoded as UTF-8 (RFC 3987, 3.1)."""
    if url.isascii():
        return url
    try:
        parts = urlsplit(url)
    except ValueError:  # no link at all
        return url
    user, at, host = parts.netloc.rpartition("@")
    name, colon, port = host.partition(":") if not host.startswith("[") else (host, "", "")
    where = f"{_percent(user)}{at}{wire_host(name) or _percent(name)}{colon}{port}"
    return urlunsplit((parts.scheme, where, _percent(parts.path), _percent(parts.query), _percent(parts.fragment)))


def _percent(text: str) -> str:
    """Everything outside ASCII; what is written, escapes included, stays."""
    return "".join(each if each.isascii() else quote(each) for each in text)
