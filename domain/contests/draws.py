"""Draws that anybody can recompute from what is published (the pattern of RFC 3797): the organiser has no choice left.

1. When a contest is published, SHA-256 of a secret is too: the commitment.
2. Closing freezes the list of entries, and its SHA-256 is published before the randomness is known.
3. The draw reveals the secret, takes the value of the public beacon if one was announced, and makes the seed of both
   and of the list's hash.
4. Who is disqualified is followed by the next alternate; nothing is ever drawn again.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from uuid import UUID

ALGORITHM = "perennial-draw-1"
_SPACE = 2**256


@dataclass(frozen=True, slots=True)
class Ticket:
    """One person's chances. The id is random and leads to nobody."""

    entry_id: UUID
    weight: int  # > 0


def canonical_list(tickets: Iterable[Ticket]) -> str:
    """The frozen list: a line `sequence,entry_id,weight` each, by entry id, every line ended by a line feed."""
    ordered = sorted(tickets, key=lambda ticket: str(ticket.entry_id))
    return "".join(f"{number},{ticket.entry_id},{ticket.weight}\n" for number, ticket in enumerate(ordered, 1))


def read_list(text: str) -> list[Ticket]:
    """The tickets of a frozen list, in its order."""
    lines = (line.split(",") for line in text.splitlines())
    return [Ticket(UUID(entry_id), int(weight)) for _, entry_id, weight in lines]


def list_hash(text: str) -> str:
    """SHA-256 of the list as UTF-8, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def commitment_to(secret: bytes) -> str:
    """SHA-256 of the secret's bytes, in hex: published first, and checked when the secret is revealed."""
    return hashlib.sha256(secret).hexdigest()


def seed_of(contest: str, frozen_hash: str, secret: bytes, beacon: str | None) -> bytes:
    """SHA-256 over five lines: algorithm, contest, hash of the list, secret in hex, value of the beacon or nothing."""
    lines = [ALGORITHM, contest, frozen_hash, secret.hex(), beacon or ""]
    return hashlib.sha256("\n".join(lines).encode()).digest()


def draw(tickets: Sequence[Ticket], seed: bytes, count: int) -> list[Ticket]:
    """The first `count` tickets in the order drawn: by weight, without replacement, without modulo bias.

    The n-th number is SHA-256(seed, n as 8 bytes, big-endian), n from 0. A number at or above the greatest multiple of
    the weight that is left is thrown away; else it modulo that weight points into the list, drawn tickets left out.
    """
    left, numbers = list(tickets), _numbers(seed)
    drawn: list[Ticket] = []
    while left and len(drawn) < count:
        ends = list(accumulate(ticket.weight for ticket in left))
        drawn.append(left.pop(bisect_right(ends, _below(ends[-1], numbers))))
    return drawn


def _numbers(seed: bytes) -> Iterator[int]:
    number = 0
    while True:
        yield int.from_bytes(hashlib.sha256(seed + number.to_bytes(8, "big")).digest(), "big")
        number += 1


def _below(bound: int, numbers: Iterator[int]) -> int:
    """A number in [0, bound), each equally likely."""
    fair = _SPACE - _SPACE % bound
    return next(number for number in numbers if number < fair) % bound
