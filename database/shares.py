"""Links that customers share, who came by them, and submissions that people review."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import (
    ForeignKey,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    Select,
    UniqueConstraint,
    distinct,
    func,
    select,
    text,
    tuple_,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Json, Table
from database.session import ReadSession, WriteSession
from domain.ids import new_id

MOST_VISITORS = 10_000
"""Visitors of one link that are told apart; a link that is more popular pays no more for it."""


class ShareLink(Table):
    """One (member, action, object), with the link that was shared. `verified_at`: when somebody else came by it."""

    __tablename__ = "share_links"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(unique=True)
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))
    action: Mapped[str]
    object: Mapped[str]  # the shop's own id of what is shared
    target: Mapped[str]  # where the link leads
    event: Mapped[str | None]  # told anew, as verified, to rules that say `verify: click_back`
    made_at: Mapped[datetime]
    visitors: Mapped[int] = mapped_column(server_default=text("0"))  # people other than the sharer
    verified_at: Mapped[datetime | None]
    ordered_at: Mapped[datetime | None]  # the first order of somebody who came by it

    __table_args__ = (UniqueConstraint("customer_id", "action", "object", name="uq_share_links_once"),)


class ShareVisit(Table):
    """One visitor of one link, as a keyed hash that leads nowhere."""

    __tablename__ = "share_visits"

    share_id: Mapped[UUID] = mapped_column(ForeignKey("share_links.id", ondelete="CASCADE"))
    visitor: Mapped[bytes] = mapped_column(LargeBinary)
    at: Mapped[datetime]

    __table_args__ = (PrimaryKeyConstraint("share_id", "visitor"),)


class Submission(Table):
    """Something a customer says to have done elsewhere: a photo, a mention. A person decides."""

    __tablename__ = "submissions"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))
    action: Mapped[str]
    object: Mapped[str]  # what it is about or where it stands, such as the address of a post
    state: Mapped[str]  # domain.shares.SubmissionState
    reason: Mapped[str | None]  # domain.shares.SubmissionReason
    event: Mapped[str | None]  # told as verified, to rules that say `verify: review`
    detail: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    submitted_at: Mapped[datetime]
    decided_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("customer_id", "action", "object", name="uq_submissions_once"),
        Index("ix_submissions_state", "state", "id"),
    )


@dataclass(frozen=True, slots=True)
class NewShare:
    """A link that somebody wants to share."""

    customer_id: UUID
    token: str
    action: str
    object: str
    target: str
    event: str | None = None


async def share_for(session: WriteSession, wish: NewShare, as_of: datetime) -> ShareLink:
    """The member's link for this action and object, made now if there is none."""
    fresh = insert(ShareLink).values(
        id=new_id(),
        token=wish.token,
        customer_id=wish.customer_id,
        action=wish.action,
        object=wish.object,
        target=wish.target,
        event=wish.event,
        made_at=as_of,
    )
    await session.execute(fresh.on_conflict_do_nothing(constraint="uq_share_links_once"))
    statement = select(ShareLink).where(
        ShareLink.customer_id == wish.customer_id, ShareLink.action == wish.action, ShareLink.object == wish.object
    )
    return (await session.execute(statement)).scalar_one()


async def share_by(session: ReadSession, token: str) -> ShareLink | None:
    """The link of a token."""
    return (await session.execute(select(ShareLink).where(ShareLink.token == token))).scalar_one_or_none()


async def lock_share(session: WriteSession, share_id: UUID) -> ShareLink | None:
    """The link, locked and as it is now."""
    statement = select(ShareLink).where(ShareLink.id == share_id).with_for_update()
    return (await session.execute(statement.execution_options(populate_existing=True))).scalar_one_or_none()


async def add_visitor(session: WriteSession, share: ShareLink, visitor: bytes, as_of: datetime) -> bool:
    """Count a visitor of a locked link; whether they are new."""
    if share.visitors >= MOST_VISITORS:
        return False
    fresh = insert(ShareVisit).values(share_id=share.id, visitor=visitor, at=as_of).on_conflict_do_nothing()
    is_new = (await session.execute(fresh.returning(ShareVisit.share_id))).first() is not None
    share.visitors += is_new
    return is_new


async def shares_of(session: ReadSession, customer_id: UUID, limit: int) -> Sequence[ShareLink]:
    """The customer's links, the latest first."""
    statement = select(ShareLink).where(ShareLink.customer_id == customer_id).order_by(ShareLink.id.desc())
    return (await session.execute(statement.limit(limit))).scalars().all()


class ActionTotal(NamedTuple):
    """What links of an action came to, or those of all actions (None)."""

    action: str | None
    links: int
    sharers: int
    visitors: int
    verified: int
    ordered: int


async def share_totals(session: ReadSession, start: datetime, end: datetime) -> list[ActionTotal]:
    """Of links made in a period: all together first, then by action. Reads the table."""
    statement = (
        select(
            ShareLink.action,
            func.count(),
            func.count(distinct(ShareLink.customer_id)),
            func.coalesce(func.sum(ShareLink.visitors), 0),
            func.count(ShareLink.verified_at),
            func.count(ShareLink.ordered_at),
        )
        .where(ShareLink.made_at >= start, ShareLink.made_at < end)
        .group_by(func.grouping_sets(tuple_(), tuple_(ShareLink.action)))
        .order_by(ShareLink.action.nulls_first())
    )
    rows = await session.execute(statement)
    return [ActionTotal(row[0], *(int(figure) for figure in row[1:])) for row in rows]


async def submit(session: WriteSession, submission: Submission) -> tuple[Submission, bool]:
    """Take a submission in. Answers the row of this member, action and object, and whether it is new."""
    values = {column.name: getattr(submission, column.name) for column in Submission.__table__.columns}
    fresh = insert(Submission).values({name: value for name, value in values.items() if value is not None})
    added = await session.execute(
        fresh.on_conflict_do_nothing(constraint="uq_submissions_once").returning(Submission.id)
    )
    statement = select(Submission).where(
        Submission.customer_id == submission.customer_id,
        Submission.action == submission.action,
        Submission.object == submission.object,
    )
    is_new = added.first() is not None
    return (await session.execute(statement)).scalar_one(), is_new


async def lock_submission(session: WriteSession, submission_id: UUID) -> Submission | None:
    """One submission, locked and as it is now."""
    statement = select(Submission).where(Submission.id == submission_id).with_for_update()
    return (await session.execute(statement.execution_options(populate_existing=True))).scalar_one_or_none()


def submissions(*, state: str | None, before: UUID | None) -> Select[Submission]:
    """Submissions, the latest first."""
    statement = select(Submission).order_by(Submission.id.desc())
    statement = statement if state is None else statement.where(Submission.state == state)
    return statement if before is None else statement.where(Submission.id < before)
