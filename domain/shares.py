"""Shared links, and what people do for the shop elsewhere. Paid for being done and verified, never for what was felt.

Facebook forbids paying for likes (since 2014), and 16 CFR 465 paying for the sentiment of a review: a rule may ask
that something was done, never how many stars it gave.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from domain.engagement import Actor, Visit, judge_click

SHARED: Final = "Share Verified"
"""Told about whoever shared, once for each (member, action, object), when somebody else came by the link or ordered."""
ORDERED: Final = "Share Ordered"
"""Told about whoever shared at the first order of somebody who came by the link."""
APPROVED: Final = "Submission Approved"
REJECTED: Final = "Submission Rejected"

_PREVIEWS = re.compile(
    r"whatsapp|telegram|discord|slack|skype|viber|signal|iframely|embedly|vkshare|preview", re.IGNORECASE
)
_SENTIMENT = re.compile(
    r"(^|[._])(stars?|ratings?|score|sentiment|likes?|liked|reactions?|thumbs?(_?up)?|nps)($|[._\[])", re.IGNORECASE
)


class SubmissionState(StrEnum):
    """What became of something a customer says to have done."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"


class SubmissionReason(StrEnum):
    """Why a submission was rejected."""

    NOT_FOUND = "not_found"
    NOT_THEIRS = "not_theirs"
    NOT_ALLOWED = "not_allowed"
    DUPLICATE = "duplicate"


class VerifiedBy(StrEnum):
    """How an event was verified, in the words of earning rules: an order of somebody else is a click back too."""

    CLICK_BACK = "click_back"
    REVIEW = "review"


VERIFIED_BY: Final = "verified_by"
"""The property of our own copy of an event by which rules with `verify` pay. The event alone pays nothing."""


@dataclass(frozen=True, slots=True)
class Follower:
    """Whoever followed a shared link. `is_sharer`: from where the sharer's own events come."""

    visit: Visit
    is_sharer: bool


def judge_follower(follower: Follower) -> Actor:
    """A person other than the sharer counts; chat programs fetch every link that is pasted, to show what it is."""
    if _PREVIEWS.search(follower.visit.user_agent) or not follower.visit.user_agent.startswith("Mozilla/"):
        return Actor.MACHINE
    actor = judge_click(follower.visit)
    return Actor.UNKNOWN if actor is Actor.HUMAN and follower.is_sharer else actor


def asks_for_sentiment(paths: Sequence[str]) -> str | None:
    """The first of the paths that reads what was felt: stars, a rating, likes. None if none does."""
    return next((path for path in paths if _SENTIMENT.search(path)), None)
