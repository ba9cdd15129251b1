"""What follows when a share or a submission is verified: events of the customer's own, on which rules pay."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from database.announcements import Announcement, announce
from database.session import WriteSession
from database.shares import ShareLink, Submission
from domain.own_events import is_own_name
from domain.shares import APPROVED, ORDERED, REJECTED, SHARED, VERIFIED_BY, SubmissionState, VerifiedBy


async def verify_share(session: WriteSession, share: ShareLink, as_of: datetime) -> None:
    """Somebody else came by a link, which is locked: it counts once, forever."""
    if share.verified_at is not None:
        return
    share.verified_at = as_of
    await session.flush()
    told = {"share_id": str(share.id), "action": share.action, "object": share.object}
    events = [Announcement(share.customer_id, SHARED, f"share/{share.id}/verified", told)]
    if share.event is not None and not is_own_name(share.event):
        copy = {**told, VERIFIED_BY: str(VerifiedBy.CLICK_BACK)}
        events.append(Announcement(share.customer_id, share.event, f"share/{share.id}/event", copy))
    await announce(session, events, as_of)


async def note_order(session: WriteSession, share: ShareLink, as_of: datetime) -> None:
    """Somebody who came by a link, which is locked, has ordered: that verifies it too."""
    await verify_share(session, share, as_of)
    if share.ordered_at is not None:
        return
    share.ordered_at = as_of
    await session.flush()
    told = {"share_id": str(share.id), "action": share.action, "object": share.object}
    await announce(session, [Announcement(share.customer_id, ORDERED, f"share/{share.id}/ordered", told)], as_of)


async def tell_decision(session: WriteSession, submission: Submission, as_of: datetime) -> None:
    """A person has decided about a submission, which is locked."""
    is_approved = submission.state == SubmissionState.APPROVED
    told: dict[str, Any] = {"submission_id": str(submission.id), "action": submission.action}
    told |= {"object": submission.object} | ({"reason": submission.reason} if submission.reason else {})
    name = APPROVED if is_approved else REJECTED
    events = [Announcement(submission.customer_id, name, f"submission/{submission.id}/decided", told)]
    if is_approved and submission.event is not None and not is_own_name(submission.event):
        copy = {**told, VERIFIED_BY: str(VerifiedBy.REVIEW)}
        events.append(Announcement(submission.customer_id, submission.event, f"submission/{submission.id}/event", copy))
    await announce(session, events, as_of)
