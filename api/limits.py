"""Limits: how large a body may be before and after decompression, and how fast one key may ask."""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from domain.errors import Malformed, RateLimited, TooLarge

_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class IngestLimits:
    """Segment's limits. Raise `body_bytes` for RudderStack's Python SDK, whose batches may reach 4 MB."""

    event_bytes: int = 32 * 1024
    body_bytes: int = 500 * 1024
    batch_events: int = 2_500


@dataclass(frozen=True, slots=True)
class Rate:
    """How many requests one key may make: `per_second` forever, and `burst` at once."""

    per_second: float = 5_000
    burst: int = 20_000


@dataclass(frozen=True, slots=True)
class CodeLimits:
    """How many codes of coupons may be tried in a minute: by one key, for one customer, and how many wrong referral
    links by one client's address.
    """

    per_key: int = 600
    per_customer: int = 20
    per_address: int = 20


async def read_body(chunks: AsyncIterator[bytes], limit: int) -> bytes:
    """The whole body, gunzipped if it starts like gzip, whatever its headers say.

    Raises TooLarge as soon as more than `limit` bytes are there, before or after decompression, so that a bomb costs
    no more than the limit; raises Malformed for broken gzip.
    """
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > limit:
            raise _too_large(limit)
    return _gunzip(bytes(body), limit) if body.startswith(_GZIP_MAGIC) else bytes(body)


def _gunzip(body: bytes, limit: int) -> bytes:
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)  # | 16: gzip framing
    try:
        plain = inflater.decompress(body, limit + 1)
    except zlib.error as error:
        raise Malformed("the body starts like gzip but cannot be decompressed", code="invalid_gzip") from error
    if len(plain) > limit:
        raise _too_large(limit)
    if not inflater.eof:
        raise Malformed("the gzip body ends before its end", code="invalid_gzip")
    return plain


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body may have {limit} bytes, also after decompression", code="body_too_large")


LIMIT_HEADERS = ("RateLimit", "RateLimit-Policy", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")


class LimitReached(RateLimited):
    """Somebody asks faster than their limit of `quota` a `window` of seconds, and may again after `seconds`.

    `headers` are the draft RateLimit ones and the X- ones that SDKs read.
    """

    def __init__(self, detail: str, *, policy: str, quota: int, window: int, seconds: int) -> None:
        super().__init__(detail, retry_after=seconds)
        self.headers = {
            "RateLimit-Policy": f'"{policy}";q={quota};w={window}',
            "RateLimit": f'"{policy}";r=0;t={seconds}',
            "X-RateLimit-Limit": str(quota),
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset": str(seconds),
        }


class KeyRateLimited(LimitReached):
    """One key asks faster than its rate."""

    def __init__(self, rate: Rate, seconds: int) -> None:
        window = math.ceil(rate.burst / rate.per_second)
        detail = "this key asks faster than its limit; slow down"
        super().__init__(detail, policy="default", quota=rate.burst, window=window, seconds=seconds)


class RateLimiter:
    """A token bucket for each key, in this process: several API processes allow several times the rate."""

    def __init__(self, rate: Rate, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._monotonic = monotonic
        self._buckets: dict[str, tuple[float, float]] = {}  # key -> tokens left, at which time

    def take(self, key: str) -> None:
        """Spend one token; raises KeyRateLimited, saying when there will be one, if there is none."""
        now = self._monotonic()
        tokens, at = self._buckets.get(key, (float(self._rate.burst), now))
        tokens = min(self._rate.burst, tokens + (now - at) * self._rate.per_second)
        if tokens < 1:
            raise KeyRateLimited(self._rate, math.ceil((1 - tokens) / self._rate.per_second))
        self._buckets[key] = (tokens - 1, now)
