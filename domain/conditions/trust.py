"""Trust in conditions: which ones can come out otherwise on trusted facts alone."""

from __future__ import annotations

from domain.conditions.model import Condition, InBucket, TierIs, VariantIs
from domain.conditions.walk import leaves


def depends_on_trust(condition: Condition) -> bool:
    """Whether it reads anything that a browser may have told: traits, events, consent, or the zone of a device."""
    return any(not isinstance(leaf, InBucket | TierIs | VariantIs) for _, leaf in leaves(condition))
