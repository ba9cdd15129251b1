"""Which period of a challenge is asked about."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

Period = Annotated[
    str | None,
    Query(
        pattern=r"^(ever|[1-9][0-9]{3}(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01]))?|-W(0[1-9]|[1-4][0-9]|5[0-3])|-Q[1-4])?)$",
        description="A day, ISO week, month, quarter or year; absent: the running one of a leaderboard, else all.",
        examples=["2026-05"],
    ),
]
