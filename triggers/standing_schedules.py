"""Temporal Schedules that a deployment has one of forever; the reconciler keeps them (triggers/reconciler.py)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from domain.upkeep import SETTLING, SETTLING_EVERY, UPKEEP, UPKEEP_LASTS

UPKEEP_SCHEDULE: Final = "upkeep"
SETTLING_SCHEDULE: Final = "loyalty"
_CAUGHT_UP = timedelta(days=7)
"""Passes that were missed while Temporal was away run in order; what is older is due in the first of them."""

STANDING: Final[Mapping[str, Mapping[str, Any]]] = {
    # Whatever keeps one workflow too long (a slow pass, no worker), the next starts the moment it ends.
    UPKEEP_SCHEDULE: {
        "workflow": UPKEEP,
        "input": None,
        "every": UPKEEP_LASTS.total_seconds(),
        "lasts": 3 * UPKEEP_LASTS.total_seconds(),
        "summary": "Upkeep: runs beside their workflows, messages left half sent",
    },
    SETTLING_SCHEDULE: {
        "workflow": SETTLING,
        "input": {},
        "every": SETTLING_EVERY.total_seconds(),
        "lasts": 12 * SETTLING_EVERY.total_seconds(),
        "each": True,
        "catch_up": _CAUGHT_UP.total_seconds(),
        "summary": "Loyalty: points that activate, expire or time out",
    },
}
"""By id, as commands describe schedules (triggers/commands.py). Whether ops have paused one stays as it is."""
