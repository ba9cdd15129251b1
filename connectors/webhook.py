"""Outgoing webhooks (standardwebhooks.com), and the guard that keeps them off private networks.

The guard resolves, checks and connects in one place, so that no second resolution can lead elsewhere. No redirects.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import socket
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpcore
import orjson

from domain.wire_addresses import wire_link

LARGEST_ANSWER: Final = 64 * 1024
"""Bytes of an answer that are read; a longer one is not kept."""

_TIMEOUT: Final = {"connect": 5.0, "read": 15.0, "write": 15.0, "pool": 15.0}
_OUTER_TIMEOUT: Final = 40.0
_LONGEST_WAIT: Final = 86_400.0
"""Seconds that anybody can make us wait; who asks for more is asked again after them."""
_TRY_AGAIN: Final = frozenset({408, 425, 429})
_OUR_HEADERS: Final = (
    "content-type",
    "user-agent",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "host",
    "content-length",
    # What belongs to one connection (RFC 9110, 7.6.1) is not a document's to say: it could split one request in two.
    "connection",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
)


@dataclass(frozen=True, slots=True)
class Delivered:
    """The shop took it: status 2xx. `answer` is its JSON, None when there was none or too much of it."""

    status: int
    answer: Any  # any JSON


@dataclass(frozen=True, slots=True)
class Refused:
    """It will not succeed: the shop said so, or the address is not one that may be called."""

    reason: str
    status: int | None = None


@dataclass(frozen=True, slots=True)
class TryLater:
    """It may succeed later; `after` is the wish of the other side in seconds."""

    reason: str
    status: int | None = None
    after: float | None = None


class AddressRefused(Exception):  # noqa: N818  a decision of the guard, turned into Refused in this file
    """The host has an address that may not be called."""


class Webhooks:
    """Signs and posts.

    `secret` is `whsec_` + base64; `allow_private` (plain http and private addresses) is for local shops and tests.
    """

    def __init__(self, secret: str, *, allow_private: bool = False) -> None:
        self._key = signing_key(secret)
        self._allow_private = allow_private
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_connections=50,
            network_backend=_GuardedNetwork(allow_private=allow_private),
        )

    async def close(self) -> None:
        """Close idle connections."""
        await self._pool.aclose()

    async def post(
        self, url: str, body: Mapping[str, Any], *, webhook_id: str, headers: Mapping[str, str], as_of: datetime
    ) -> Delivered | Refused | TryLater:
        """One attempt. The id stays the same over all attempts; the timestamp is this attempt's."""
        content = orjson.dumps(body)
        try:
            target = _target(url, allow_private=self._allow_private)
            signed = _headers(headers) | signature_headers(self._key, webhook_id, as_of, content)
            async with asyncio.timeout(_OUTER_TIMEOUT):
                return await self._exchange(target, signed, content)
        except AddressRefused as error:
            return Refused(str(error))
        except (httpcore.UnsupportedProtocol, httpcore.LocalProtocolError, ValueError):
            return Refused("not_a_request")
        except (TimeoutError, httpcore.TimeoutException):
            return TryLater("timeout")
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError):
            return TryLater("unreachable")

    async def _exchange(
        self, target: httpcore.URL, headers: Mapping[str, str], content: bytes
    ) -> Delivered | Refused | TryLater:
        extensions = {"timeout": _TIMEOUT}
        async with self._pool.stream(
            "POST", target, headers=_encoded(headers), content=content, extensions=extensions
        ) as response:
            if 200 <= response.status < 300:
                return Delivered(response.status, _json(await _capped(response)))
            reason = f"http_{response.status}"
            if response.status in _TRY_AGAIN or response.status >= 500:
                return TryLater(reason, response.status, _retry_after(response.headers, headers))
            return Refused(reason, response.status)


def signing_key(secret: str) -> bytes:
    """The bytes of a `whsec_` secret. Raises ValueError for anything else."""
    prefix, _, encoded = secret.partition("_")
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        key = b""
    if prefix != "whsec" or not 24 <= len(key) <= 64:
        raise ValueError("a webhook secret is whsec_ and the base64 of 24 to 64 random bytes")
    return key


def signature_headers(key: bytes, webhook_id: str, as_of: datetime, content: bytes) -> dict[str, str]:
    """`webhook-id`, `webhook-timestamp`, `webhook-signature` (`v1,` + base64 of HMAC-SHA256 of `id.timestamp.body`)."""
    timestamp = str(int(as_of.timestamp()))
    signed = b".".join((webhook_id.encode(), timestamp.encode(), content))
    digest = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return {
        "content-type": "application/json",
        "user-agent": "perennial-webhooks/1",
        "webhook-id": webhook_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{digest}",
    }


def is_public(address: str) -> bool:
    """Whether an IP address is global unicast, also inside what wraps IPv4 (mapped, 6to4, Teredo, NAT64)."""
    ip = ipaddress.ip_address(address)
    wrapped = _wrapped(ip) if isinstance(ip, ipaddress.IPv6Address) else []
    return _is_global(ip) and all(map(_is_global, wrapped))


def _is_global(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def _wrapped(ip: ipaddress.IPv6Address) -> Iterable[ipaddress.IPv4Address]:
    found = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
    if ip in _NAT64:
        found.append(ipaddress.IPv4Address(ip.packed[-4:]))
    return [inner for inner in found if inner is not None]


class _GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Connects only to addresses that were checked in the same breath: resolve, check all, connect to one of those."""

    def __init__(self, *, allow_private: bool) -> None:
        self._inner = httpcore.AnyIOBackend()
        self._allow_private = allow_private

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await self._resolve(host, port)
        if not self._allow_private and not all(map(is_public, addresses)):
            raise AddressRefused("address_private")
        return await self._inner.connect_tcp(addresses[0], port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _resolve(self, host: str, port: int) -> list[str]:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as error:
            raise httpcore.ConnectError from error
        return list(dict.fromkeys(str(entry[4][0]).split("%")[0] for entry in found))


def _target(url: str, *, allow_private: bool) -> httpcore.URL:
    target = httpcore.URL(wire_link(url))
    schemes = {b"https", b"http"} if allow_private else {b"https"}
    if target.scheme not in schemes or not target.host:
        raise AddressRefused("address_not_https")
    return target


def _headers(written: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in written.items() if name.lower() not in _OUR_HEADERS}


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Values of other letters go as UTF-8, which HTTP passes on as it is (RFC 9110, 5.5: obs-text)."""
    return [(name.encode("ascii"), value.encode()) for name, value in headers.items()]


async def _capped(response: httpcore.Response) -> bytes | None:
    content = b""
    async for chunk in response.aiter_stream():
        content += chunk
        if len(content) > LARGEST_ANSWER:
            return None
    return content


def _json(content: bytes | None) -> Any:  # any JSON
    try:
        return orjson.loads(content) if content else None
    except orjson.JSONDecodeError:
        return None


def _retry_after(headers: list[tuple[bytes, bytes]], sent: Mapping[str, str]) -> float | None:
    """`Retry-After` in seconds, a day at most, written as a number or a date; None when it says nothing useful."""
    value = next((value.decode("latin-1") for name, value in headers if name.lower() == b"retry-after"), "")
    if value.isdecimal():
        return min(float(value), _LONGEST_WAIT)
    try:
        wait = parsedate_to_datetime(value).timestamp() - float(sent["webhook-timestamp"])
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, wait), _LONGEST_WAIT)
