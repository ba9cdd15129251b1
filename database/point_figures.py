"""What a programme's ledger comes to, for finance. Formulas: metrics, section 2 (docs/loyalty/points.md)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import DateTime, Uuid, bindparam, text

from database.point_totals import NAME
from database.session import ReadSession


@dataclass(frozen=True, slots=True)
class PointFigures:
    """Points that moved in the window, and what was outstanding at its end, all in points."""

    issued: int = 0
    redeemed: int = 0
    expired: int = 0
    reversed: int = 0
    outstanding: int = 0
    ended_redeemed: int = 0  # of all points that were ever redeemed or expired by the window's end
    ended_expired: int = 0


# Entries by when they took effect, not by when a job noticed; transfers and merges cancel out, since both sides are the
# programme's. Whole hours come from their totals, the two hours in which the window begins and ends from the entries
# (ix_point_transactions_effective). Entries from before the totals are read until the pass over them is done. One
# statement, so that a note and the total that it goes into are never both counted.
_FIGURES = text("""
    WITH totals AS (
        SELECT programme, hour, bucket, amount FROM point_totals
        UNION ALL
        SELECT programme, hour, bucket, amount FROM point_total_changes
    ), older AS (
        SELECT made.id, made.effective_at FROM point_transactions AS made
        WHERE NOT EXISTS (SELECT FROM backfills WHERE name = :pass AND done_at IS NOT NULL)
            AND NOT made.is_totalled AND made.programme = :programme AND made.effective_at < :until_hour
            AND made.id > coalesce((SELECT after FROM backfills WHERE name = :pass), :nobody)
    ), parts AS (
        SELECT bucket, amount, true AS is_before_end, coalesce(hour < :since_hour, false) AS is_before_start
        FROM totals WHERE programme = :programme AND hour < :until_hour
        UNION ALL
        SELECT entries.bucket, entries.amount, true, coalesce(older.effective_at < :since_hour, false)
        FROM older JOIN point_entries AS entries ON entries.transaction_id = older.id
        UNION ALL
        SELECT entries.bucket, entries.amount, true, false
        FROM point_transactions AS made JOIN point_entries AS entries ON entries.transaction_id = made.id
        WHERE made.programme = :programme AND made.effective_at >= :until_hour AND made.effective_at < :until
        UNION ALL
        SELECT entries.bucket, entries.amount, false, true
        FROM point_transactions AS made JOIN point_entries AS entries ON entries.transaction_id = made.id
        WHERE made.programme = :programme AND made.effective_at >= :since_hour AND made.effective_at < :since
    )
    SELECT bucket,
        coalesce(sum(amount) FILTER (WHERE is_before_end), 0)::bigint AS ended,
        coalesce(sum(amount) FILTER (WHERE is_before_start), 0)::bigint AS started
    FROM parts GROUP BY bucket
""").bindparams(
    *(bindparam(name, type_=DateTime(timezone=True)) for name in ("since", "since_hour", "until", "until_hour")),
    bindparam("nobody", UUID(int=0), type_=Uuid),
)


async def figures(session: ReadSession, programme: str, since: datetime | None, until: datetime) -> PointFigures:
    """The figures of `[since, until)`; `since` None: from the beginning."""
    since = min(since, until) if since else None
    hours = {"since_hour": _hour(since) if since else None, "until_hour": _hour(until)}
    given = {"programme": programme, "pass": NAME, "since": since, "until": until, **hours}
    rows = (await session.execute(_FIGURES, given)).all()
    ended = Counter({row.bucket: row.ended for row in rows})
    moved = Counter({row.bucket: row.ended - row.started for row in rows})
    return PointFigures(
        issued=-moved["issued"],
        redeemed=moved["redeemed"],
        expired=moved["expired"],
        reversed=moved["reversed"],
        outstanding=ended["pending"] + ended["available"] + ended["held"],
        ended_redeemed=ended["redeemed"],
        ended_expired=ended["expired"],
    )


def _hour(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
