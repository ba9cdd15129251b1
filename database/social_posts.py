"""Posts of the shop on social networks and their figures, imported so that engagement rates can be reported."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Index, PrimaryKeyConstraint, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped

from database.base import Table
from database.session import ReadSession, WriteSession


class SocialPost(Table):
    """One post with its latest figures; those that a network does not tell are null."""

    __tablename__ = "social_posts"

    network: Mapped[str]
    post_id: Mapped[str]  # the network's own
    url: Mapped[str | None]
    posted_at: Mapped[datetime]
    measured_at: Mapped[datetime]
    engagements: Mapped[int]
    reach: Mapped[int | None]
    impressions: Mapped[int | None]
    followers: Mapped[int | None]  # of the account, when it was measured

    __table_args__ = (
        PrimaryKeyConstraint("network", "post_id"),
        Index("ix_social_posts_posted_at", "posted_at"),
    )


async def write_posts(session: WriteSession, rows: Sequence[dict[str, Any]]) -> int:
    """Take posts in; of two measurements the later stays. Answers how many rows changed."""
    fresh = insert(SocialPost).values(sorted(rows, key=lambda row: (row["network"], row["post_id"])))
    told = {name: fresh.excluded[name] for name in rows[0] if name not in ("network", "post_id")}
    later = fresh.on_conflict_do_update(
        index_elements=["network", "post_id"], set_=told, where=fresh.excluded.measured_at >= SocialPost.measured_at
    )
    return len((await session.execute(later.returning(SocialPost.post_id))).all())


async def posts_between(
    session: ReadSession, start: datetime, end: datetime, network: str | None
) -> Sequence[SocialPost]:
    """Posts of a period, by when they were posted. By ix_social_posts_posted_at."""
    statement = select(SocialPost).where(SocialPost.posted_at >= start, SocialPost.posted_at < end)
    statement = statement if network is None else statement.where(SocialPost.network == network)
    return (await session.execute(statement.order_by(SocialPost.posted_at, SocialPost.post_id))).scalars().all()
