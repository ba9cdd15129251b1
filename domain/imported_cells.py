"""What cells of past data say, whatever the row is about: whose it is, and when it was so."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from domain.commerce import text_id
from domain.events import EARLIEST
from domain.imports import RowError

USER_COLUMNS = ("user_id", "userId", "customer_id", "external_id")


def user_of(values: dict[str, Any], columns: Iterable[str]) -> str:
    """The customer's id, which is taken out of the values. Raises RowError."""
    for column in columns:
        found = text_id(values.pop(column, None))
        if found is not None:
            return found
    raise RowError("user_id_missing", f"each row needs the customer's id in one of: {', '.join(columns)}")


def time_of(values: dict[str, Any], as_of: datetime, columns: Iterable[str]) -> datetime:
    """When it was so; a row that does not say is of now. Raises RowError."""
    return own_time(values, as_of, columns) or as_of


def own_time(values: dict[str, Any], as_of: datetime, columns: Iterable[str]) -> datetime | None:
    """The same, None where the row does not say. The time is taken out of the values; none is later than now."""
    for column in columns:
        told = values.pop(column, None)
        if told is not None:
            return _past(told, column, as_of)
    return None


def instant(told: Any, column: str) -> datetime:
    """A time with its offset, UTC where none is written. Raises RowError."""
    try:
        moment = datetime.fromisoformat(told)
    except (TypeError, ValueError):
        raise RowError("time_malformed", f"{column}: write a time such as 2026-03-01T09:30:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _past(told: Any, column: str, as_of: datetime) -> datetime:
    moment = min(instant(told, column), as_of)
    if moment < EARLIEST:
        raise RowError("time_out_of_range", f"{column}: nothing from before the year 1990 is taken")
    return moment.astimezone(UTC)
