"""Posts as networks measure them, and their engagement rates.

Each variant has its own denominator and its own name; they are never mixed. Formulas: Hootsuite's (by reach, by
impressions, by followers for each post, daily). A post that a network tells no denominator for is left out of that
variant, numerator and all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Final

NETWORK: Final = r"[a-z][a-z0-9_-]{0,62}"
COUNTED: Final = ("likes", "comments", "shares", "saves", "clicks")
"""What is an engagement. All count alike: a like is no better than a comment, and none is paid for."""
MOST: Final = 2**53
"""No figure is larger, so that every program reads it exactly."""
CLOCKS_DIFFER: Final = timedelta(seconds=60)
"""How far another program's clock may be ahead of ours. What is later has not been posted or measured yet."""


@dataclass(frozen=True, slots=True)
class MeasuredPost:
    """One post of the shop as a network measured it; None where it tells nothing."""

    network: str
    post_id: str  # the network's own
    posted_at: datetime
    measured_at: datetime
    engagements: int
    url: str | None = None
    reach: int | None = None
    impressions: int | None = None
    followers: int | None = None  # of the account, when it was measured


@dataclass(frozen=True, slots=True)
class PostFigures:
    """What a network tells about one post; None where it tells nothing."""

    engagements: int
    reach: int | None = None
    impressions: int | None = None
    followers: int | None = None
    network: str = ""


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate in percent over `posts` posts; None where no post has the denominator."""

    percent: Fraction | None
    posts: int


def by_reach(posts: Sequence[PostFigures]) -> Rate:
    """Engagements of all posts by their reach, times 100."""
    return _pooled([(post.engagements, post.reach) for post in posts])


def by_impressions(posts: Sequence[PostFigures]) -> Rate:
    """Engagements of all posts by their impressions, times 100."""
    return _pooled([(post.engagements, post.impressions) for post in posts])


def by_followers(posts: Sequence[PostFigures]) -> Rate:
    """The mean over posts of engagements by followers, times 100."""
    each = [Fraction(post.engagements, post.followers) * 100 for post in posts if post.followers]
    return Rate(sum(each, Fraction()) / len(each) if each else None, len(each))


def per_day(posts: Sequence[PostFigures], days: Fraction | int) -> Rate:
    """Engagements a day by followers, times 100; `posts` in the order measured. Each network has its own followers, as
    its latest measurement tells them: several networks are measured by all their followers together.
    """
    followers = {post.network: post.followers for post in posts if post.followers}
    counted = [post for post in posts if post.network in followers]
    if not counted or days <= 0:
        return Rate(None, 0)
    base = sum(followers.values()) * days
    return Rate(sum(post.engagements for post in counted) / Fraction(base) * 100, len(counted))


def is_to_come(moment: datetime, as_of: datetime) -> bool:
    """Whether a time lies further in the future than clocks differ."""
    return moment > as_of + CLOCKS_DIFFER


def _pooled(pairs: Sequence[tuple[int, int | None]]) -> Rate:
    known = [(engagements, base) for engagements, base in pairs if base]
    total = sum(base for _, base in known)
    return Rate(Fraction(sum(engagements for engagements, _ in known), total) * 100 if known else None, len(known))
