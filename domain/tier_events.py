"""The names of our own events about tiers, apart from their rules so that journeys can name them."""

from __future__ import annotations

TIER_REACHED = "Tier Reached"
TIER_LEFT = "Tier Left"
"""A customer rose to a tier, or fell out of one. Both say which, from or to which, and why."""
