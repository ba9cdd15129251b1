"""The time that the API is told, moved by tests."""

from __future__ import annotations

from datetime import datetime, timedelta


class Clock:
    """What an API takes as the present moment."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def later(self, **by: float) -> None:
        """Some time passes."""
        self.now += timedelta(**by)
