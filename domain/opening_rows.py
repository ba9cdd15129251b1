"""What a row says of a member's past in a programme that was kept elsewhere: a lot of points, what is owed, a tier.

Nothing of it is earned here. Loading it: triggers/moving_in.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from domain.commerce import text_id
from domain.events import EARLIEST
from domain.imported_cells import USER_COLUMNS, instant, user_of
from domain.imports import RowError
from domain.programmes.periods import start_of
from domain.programmes.rules import MOST_POINTS

OPENING: Final = "opening"
"""The source of points that were moved in, and the author of tiers that were."""
NEVER: Final = "never"
_LAST_YEAR = 9_000
"""Systems write such a year, mostly 9999, for what never ends."""
_COLUMNS = (
    *("points", "earned_at", "activates_at", "expires_at", "reference"),
    *("tier", "tier_since", "tier_until", "tier_evidence"),
)
_ENDS = ("expires_at", "tier_until")
_LONGEST = 400

Told = datetime | date | None
"""A moment, or a day of the programme's zone."""


@dataclass(frozen=True, slots=True)
class OpeningTier:
    """A tier that a member had. `until` None: for as long as nobody takes it away."""

    tier: str
    since: Told
    until: Told
    evidence: str


@dataclass(frozen=True, slots=True)
class OpeningRow:
    """One row. `points` below zero are owed; `reference` is the other system's own name for the lot."""

    user_id: str
    points: int
    earned_at: Told
    activates_at: Told
    expires_at: Told
    is_endless: bool  # it says that the points never lapse
    reference: str | None
    tier: OpeningTier | None

    @property
    def key(self) -> str:
        """What is loaded once: by its reference, else one lot of a member by its dates."""
        told = ("earned_at", "activates_at", "expires_at")
        dates = "/".join(str(getattr(self, name) or "") for name in told) + (NEVER if self.is_endless else "")
        lot = "owed" if self.points < 0 else dates
        part = f"reference/{self.reference}" if self.reference else lot
        return f"{OPENING}/{self.user_id.replace('/', '//')}/{part}"

    @property
    def about(self) -> list[str]:
        """What it speaks of, which no other row of its file may."""
        tier = [f"{OPENING}/{self.user_id.replace('/', '//')}/tier"] if self.tier is not None else []
        return tier + ([self.key] if self.points else [])


@dataclass(slots=True)
class OpeningTotals:
    """What was loaded, or would be."""

    members: set[str] = field(default_factory=set)
    lots: int = 0
    points: int = 0
    pending: int = 0
    owed: int = 0
    tiers: Counter[str] = field(default_factory=Counter)


def opening_of(values: dict[str, Any], as_of: datetime) -> OpeningRow:
    """What a row says; raises RowError."""
    user_id = user_of(values, USER_COLUMNS)
    values = {name: told for name, told in values.items() if told is not None and str(told).strip()}
    if values.keys().isdisjoint({"points", "tier"}) and not any(name.startswith("tier_") for name in values):
        raise RowError("nothing_stated", "each row needs points, or a tier")
    if unknown := sorted(values.keys() - set(_COLUMNS)):
        raise RowError("column_unknown", f"{unknown[0]}: a row may have user_id, {', '.join(_COLUMNS)}")
    expires_at, is_endless = _end(values.get("expires_at"), "expires_at")
    row = OpeningRow(
        user_id,
        points=_points(values.get("points")),
        earned_at=_past(values.get("earned_at"), "earned_at", as_of),
        activates_at=_told(values.get("activates_at"), "activates_at"),
        expires_at=expires_at,
        is_endless=is_endless,
        reference=text_id(values.get("reference")),
        tier=_tier(values, as_of),
    )
    if row.points <= 0 and (row.activates_at or row.expires_at or row.is_endless):
        raise RowError("dates_without_points", "activates_at and expires_at belong to points above zero")
    return row


def moment_of(told: Told, zone: ZoneInfo, *, is_end: bool = False) -> datetime | None:
    """When a day begins in a zone, or ends; a moment is one already."""
    if told is None or isinstance(told, datetime):
        return told
    return start_of(told + timedelta(days=1) if is_end else told, zone)


def _points(told: Any) -> int:
    text = str(told).strip() if told is not None and not isinstance(told, bool) else ""
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text)
    whole, _, rest = digits.partition(".")
    if told is None:
        return 0
    may_be_grouped = len(rest) == len("000") and len(whole) <= len("999") and whole.strip("0") != ""  # 1.000 for 1,000
    is_whole = whole.isascii() and whole.isdecimal() and len(whole) <= len(str(MOST_POINTS)) and not rest.strip("0")
    if may_be_grouped or not is_whole:
        raise RowError("points_malformed", "points: write a whole number such as 1200, or -50 for what is owed")
    if int(whole) > MOST_POINTS:
        raise RowError("points_malformed", f"points: a row may have {MOST_POINTS:,} at most")
    return sign * int(whole)


def _tier(values: Mapping[str, Any], as_of: datetime) -> OpeningTier | None:
    tier = text_id(values.get("tier"))
    if tier is None:
        if any(name.startswith("tier_") for name in values):
            raise RowError("tier_missing", "tier: write which tier tier_since, tier_until and tier_evidence are about")
        return None
    since = _past(values.get("tier_since"), "tier_since", as_of)
    until, _ = _end(values.get("tier_until"), "tier_until")
    return OpeningTier(tier, since, until, str(values.get("tier_evidence", ""))[:_LONGEST])


def _end(told: Any, column: str) -> tuple[Told, bool]:
    """When something ends, and whether it says that it never does."""
    if isinstance(told, str) and told.strip().lower() == NEVER:
        return None, True
    found = _told(told, column)
    is_endless = found is not None and found.year >= _LAST_YEAR
    return (None if is_endless else found), is_endless


def _past(told: Any, column: str, as_of: datetime) -> Told:
    found = _told(told, column)
    if found is not None and (found > as_of if isinstance(found, datetime) else found > as_of.date()):
        raise RowError("time_out_of_range", f"{column}: this has not happened yet")
    return found


def _told(told: Any, column: str) -> Told:
    if told is None:
        return None
    try:
        is_day = len(told.strip()) <= len("2026-03-01")
        found = date.fromisoformat(told.strip()) if is_day else instant(told.strip(), column)
    except (AttributeError, ValueError):
        what = f"{column}: write a day such as 2026-03-01, or a time such as 2026-03-01T09:30:00Z"
        raise RowError("time_malformed", what) from None
    if found.year < EARLIEST.year or (found.year >= _LAST_YEAR and column not in _ENDS):
        raise RowError("time_out_of_range", f"{column}: write a time from 1990 on")
    return found
