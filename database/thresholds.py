"""The thresholds of points that live journeys enter on, and the events that tell of moves that cross them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import PrimaryKeyConstraint, Text, delete, insert, select
from sqlalchemy.orm import Mapped, mapped_column

from database.announcements import Announcement, announce
from database.base import Table
from database.earned_points import earned_points
from database.session import ReadSession, WriteSession
from domain.book import Book
from domain.crossings import Crossing, FigureMove, crossings, figure_moves, issues
from domain.thresholds import EVENT_OF, Change, PointsFigure, Threshold


class PointThreshold(Table):
    """One threshold of one journey that is live or paused: what moves are compared with."""

    __tablename__ = "point_thresholds"

    points: Mapped[int]
    figure: Mapped[PointsFigure] = mapped_column(Text)
    change: Mapped[Change] = mapped_column(Text)
    journey: Mapped[str]

    __table_args__ = (PrimaryKeyConstraint("points", "figure", "change", "journey"),)


async def watch_thresholds(session: WriteSession, journey: str, thresholds: Collection[Threshold]) -> None:
    """From the commit on, moves tell of these thresholds for this journey, and of no others."""
    await session.execute(delete(PointThreshold).where(PointThreshold.journey == journey))
    rows = [{**threshold._asdict(), "journey": journey} for threshold in sorted(set(thresholds))]
    if rows:
        await session.execute(insert(PointThreshold), rows)


async def tell_crossings(session: WriteSession, programme: str, book: Book, as_of: datetime, *, depth: int = 0) -> None:
    """Announce every threshold that the transactions of a book have crossed; its accounts are locked.

    `depth`: of the chain of journeys that moved the points, so that they cannot start one another forever.
    """
    if not book.is_watched:
        return
    earned = await earned_points(session, programme, book.accounts) if issues(book) else {}
    moves = figure_moves(book, earned)
    if moves and (thresholds := await _within_reach(session, moves)):
        told = [_announcement(programme, crossing, depth) for crossing in crossings(moves, thresholds)]
        await announce(session, told, as_of)


async def _within_reach(session: ReadSession, moves: Collection[FigureMove]) -> list[Threshold]:
    """The thresholds between the lowest and the highest of all figures. Relies on pk_point_thresholds."""
    lowest = min(min(move.before, move.after) for move in moves)
    highest = max(max(move.before, move.after) for move in moves)
    within = (PointThreshold.points > lowest) & (PointThreshold.points <= highest)
    statement = select(PointThreshold.figure, PointThreshold.change, PointThreshold.points).where(within).distinct()
    return [Threshold(*row) for row in await session.execute(statement)]


def _announcement(programme: str, crossing: Crossing, depth: int) -> Announcement:
    move, threshold = crossing.move, crossing.threshold
    return Announcement(
        customer_id=move.account,
        name=EVENT_OF[threshold.change],
        message_id=f"points/{move.transaction_id}/{move.account}/{'/'.join(map(str, threshold))}",
        properties={
            "programme": programme,
            "figure": threshold.figure,
            "threshold": threshold.points,
            "from": move.before,
            "points": move.after,
            "transaction_id": str(move.transaction_id),
        },
        depth=depth,
    )
