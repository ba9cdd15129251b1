"""Who is judged, by the SQL evaluator, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One customer at one moment. `number`: only events up to this routing number count (None: all that are routed).

    `until_time`, `until_sent`, `until_id`: the stamp of the last event that counts, in whatever order they were routed.

    `entry`, `saved`, `variants`, `entered_at` and `entry_number` (the routing number at entry) are those of a run.
    """

    customer_id: UUID
    as_of: datetime
    number: int | None = None
    until_time: datetime | None = None
    until_sent: datetime | None = None
    until_id: UUID | None = None
    entry: Mapping[str, Any] | None = None  # any JSON object
    saved: Mapping[str, Any] = field(default_factory=dict)  # any JSON object
    variants: Mapping[str, str] = field(default_factory=dict)
    entered_at: datetime | None = None
    entry_number: int | None = None
    run_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class ShopDefaults:
    """What holds where nothing is said: the shop's zone and currency, the consent state by purpose (absent: `none`)."""

    zone: str = "UTC"
    consent: Mapping[str, str] = field(default_factory=dict)
    currency: str = "EUR"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`failed_leaf` points (RFC 6901, from the condition) to the first leaf that made it false; only when asked for.

    `is_trusted`: trusted facts alone come to the same; always true where nobody asked for the comparison.
    """

    holds: bool
    failed_leaf: str | None = None
    is_trusted: bool = True
