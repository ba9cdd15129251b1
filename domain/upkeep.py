"""The names and periods of what a deployment does for itself, and of the mark by which it knows its Temporal."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

UPKEEP: Final = "Upkeep"
UPKEEP_LASTS: Final = timedelta(minutes=10)
"""How long one workflow goes on making passes, so that upkeep does not fill Temporal's list."""
SETTLING: Final = "Loyalty"
SETTLING_EVERY: Final = timedelta(hours=1)
MARK: Final = "Mark"
