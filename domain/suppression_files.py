"""Suppressions in files: what a row says, or what is wrong with it. The columns are those of the export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from domain.imports import Row, RowProblem
from domain.messages import deliverable_address
from domain.suppressions import Cause

IMPORTED = frozenset(Cause) - {Cause.ERASED, Cause.WITHDRAWN}
"""Causes that a person or another system can state. The others come of erasures alone."""


@dataclass(frozen=True, slots=True)
class StatedSuppression:
    """One row: `at` is when it began where it came from, at most now."""

    channel: str
    address: str
    cause: Cause
    at: datetime
    note: str | None


def read_suppression(row: Row, as_of: datetime) -> StatedSuppression | RowProblem:
    """`address` (or `email`), and optionally `channel`, `reason` (else manual), `at` and `note`."""
    values = row.values
    channel = _text(values, "channel") or "email"
    address = _text(values, "address") or _text(values, "email")
    if channel not in ("email", "sms"):
        return RowProblem(row.number, "channel_unknown", "channel: write email or sms")
    if address is None or (channel == "email" and deliverable_address({"email": address}) is None):
        return RowProblem(row.number, "address_malformed", "each row needs an address")
    reason = (_text(values, "reason") or Cause.MANUAL).lower()
    if reason not in {cause.value for cause in IMPORTED}:
        return RowProblem(row.number, "reason_unknown", f"reason: write one of {', '.join(sorted(IMPORTED))}")
    at = _moment(_text(values, "at"), as_of)
    if at is None:
        return RowProblem(row.number, "time_malformed", "at: write a time such as 2026-03-01T09:30:00Z")
    return StatedSuppression(channel, address, Cause(reason), at, (_text(values, "note") or "")[:500] or None)


def _text(values: Mapping[str, Any], name: str) -> str | None:
    told = values.get(name)
    return told.strip() or None if isinstance(told, str) else None


def _moment(told: str | None, as_of: datetime) -> datetime | None:
    try:
        moment = as_of if told is None else datetime.fromisoformat(told)
    except ValueError:
        return None
    return min(moment if moment.tzinfo else moment.replace(tzinfo=UTC), as_of)
