"""Posts of the shop on social networks and their figures, imported so that engagement rates can be reported."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from datetime import datetime

from sqlalchemy import Index, PrimaryKeyConstraint, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped

from database.base import Table
from database.session import ReadSession, WriteSession
from domain.social import MeasuredPost


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


async def write_posts(session: WriteSession, posts: Iterable[MeasuredPost]) -> int:
    """Take posts in; of two measurements of one the later stays. Answers how many rows changed."""
    latest = {(post.network, post.post_id): post for post in sorted(posts, key=lambda post: post.measured_at)}
    if not latest:
        return 0
    fresh = insert(SocialPost).values([asdict(latest[key]) for key in sorted(latest)])
    told = {field.name: fresh.excluded[field.name] for field in fields(MeasuredPost)}
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
