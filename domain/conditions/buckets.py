"""Buckets: a stable position of every customer in a hundred percent, by hash, the same in Python and in SQL."""

from __future__ import annotations

from hashlib import sha256
from uuid import UUID

SIZE = 1_000_000
"""Positions in a hundred percent, so that a bucket is exact to a ten-thousandth of a percent."""

HASHED_BYTES = 7  # of SHA-256: fits a signed bigint, and the remainder by SIZE is even to 1 in 10^10


def position(customer_id: UUID, salt: str) -> int:
    """Where the customer stands in [0, SIZE): the first bytes of SHA-256 over `<id>:<salt>`, modulo SIZE."""
    return int.from_bytes(sha256(f"{customer_id}:{salt}".encode()).digest()[:HASHED_BYTES]) % SIZE


def positions(bucket: tuple[float, float]) -> tuple[int, int]:
    """A bucket in percent as positions [from, to)."""
    low, high = bucket
    return round(low * SIZE / 100), round(high * SIZE / 100)
