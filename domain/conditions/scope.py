"""What a condition is judged against: the customer, the run's entry event, what steps saved, and the moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

_UTC = ZoneInfo("UTC")
JsonObject = Mapping[str, Any]  # any JSON object


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """`entry` is `{"event", "properties", ...}`, `customer` `{"id", "traits"}` (the shop's id); `saved` by step."""

    as_of: datetime
    zone: ZoneInfo = _UTC  # the customer's, else the shop's: local_time.resolve_zone
    entry: JsonObject | None = None
    customer: JsonObject = field(default_factory=dict)
    saved: JsonObject = field(default_factory=dict)
