"""Which arm of an experiment a customer gets: a stable hash, so that asking twice never moves anybody."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from uuid import UUID

from domain.journeys.steps import Variant


def assign(customer_id: UUID, journey: str, step: str, variants: Sequence[Variant]) -> str:
    """The variant whose share of the weights holds the customer's point in [0, 1)."""
    point = _point(f"{customer_id}/{journey}/{step}") * sum(variant.weight for variant in variants)
    for variant in variants:
        if point < variant.weight:
            return variant.variant
        point -= variant.weight
    return max(variants, key=lambda variant: variant.weight).variant  # the last rounding error of the sum


def _point(text: str) -> float:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest(), "big") / 2**48
