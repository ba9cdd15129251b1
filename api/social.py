"""Posts of the shop on social networks: their figures come in, engagement rates go out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Annotated, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from api.auth import requires
from api.dependencies import AsOf, Reading, Writing
from api.one_of import one_of
from api.routing import ApiRoute
from database.social_posts import SocialPost, posts_between, write_posts
from domain.errors import FieldError, Invalid
from domain.instants import Instant
from domain.keys import Scope
from domain.shop_settings import WebAddress
from domain.social import (
    MOST,
    NETWORK,
    MeasuredPost,
    PostFigures,
    Rate,
    by_followers,
    by_impressions,
    by_reach,
    is_to_come,
    per_day,
)

router = APIRouter(prefix="/v1/social", tags=["sharing"], route_class=ApiRoute)

Network = Annotated[str, StringConstraints(pattern=f"^{NETWORK}$")]
Count = Annotated[int, Field(ge=0, le=MOST)]
_PERIOD = timedelta(days=30)
_DAY, _TICK = timedelta(days=1), timedelta(microseconds=1)
_DIGITS = 4


class Figures(BaseModel):
    """What people did with a post. All count alike: a like is no better than a comment, and none is paid for."""

    model_config = ConfigDict(extra="forbid")

    likes: Count = 0
    comments: Count = 0
    shares: Count = 0
    saves: Count = 0
    clicks: Count = 0

    @property
    def sum(self) -> int:
        """All engagements."""
        return self.likes + self.comments + self.shares + self.saves + self.clicks


class PostWish(BaseModel):
    """One post as a network measured it: `engagements`, or the `figures` that add up to it."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=one_of("engagements", "figures"))

    network: Network = Field(examples=["instagram"])
    post_id: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    url: WebAddress | None = None
    posted_at: Instant
    measured_at: Instant | None = Field(
        default=None, description="Absent: now. A later measurement replaces; 422 `time_in_future` for what is to come."
    )
    engagements: Count | None = None
    figures: Figures | None = None
    reach: Count | None = None
    impressions: Count | None = None
    followers: Count | None = None

    @model_validator(mode="after")
    def _is_counted_once(self) -> Self:
        if (self.engagements is None) == (self.figures is None):
            raise ValueError("write engagements or figures, one of them")
        return self


class PostsWish(BaseModel):
    """Up to 1,000 posts."""

    model_config = ConfigDict(extra="forbid")

    posts: list[PostWish] = Field(min_length=1, max_length=1_000)


class PostsAnswer(BaseModel):
    """How many posts there were, and how many of them were new or measured later than what we had."""

    received: int
    written: int


class RateAnswer(BaseModel):
    """A rate in percent, over how many posts; null where no post tells its denominator."""

    percent: float | None
    posts: int

    @classmethod
    def of(cls, rate: Rate) -> Self:
        """Rounded to four digits."""
        return cls(percent=None if rate.percent is None else _rounded(rate.percent), posts=rate.posts)


class EngagementAnswer(BaseModel):
    """Engagement rates of posts of a period, by variant: they have different denominators and are never mixed."""

    from_: Instant = Field(serialization_alias="from")
    to: Instant
    network: str | None
    posts: int
    engagements: int
    by_reach: RateAnswer
    by_impressions: RateAnswer
    by_followers: RateAnswer
    per_day: RateAnswer


@router.post("/posts", dependencies=[requires(Scope.LOYALTY_WRITE)], summary="Import posts and their figures")
async def import_posts(wish: PostsWish, session: Writing, as_of: AsOf) -> PostsAnswer:
    """Repeatable; of several measurements of a post the latest counts."""
    _refuse_the_future(wish.posts, as_of)
    written = await write_posts(session, [_measured(post, as_of) for post in wish.posts])
    return PostsAnswer(received=len(wish.posts), written=written)


@router.get("/engagement", dependencies=[requires(Scope.LOYALTY_READ)], summary="Engagement rates of posts")
async def get_engagement(
    *,
    session: Reading,
    as_of: AsOf,
    from_: Annotated[Instant | None, Query(alias="from", description="Absent: 30 days before `to`.")] = None,
    to: Annotated[Instant | None, Query(description="Absent: now.")] = None,
    network: Annotated[Network | None, Query()] = None,
) -> EngagementAnswer:
    """By when posts were posted."""
    end = to or as_of
    start = from_ or end - min(_PERIOD, end - datetime.min.replace(tzinfo=end.tzinfo))
    found = await posts_between(session, start, end, network)
    figures = [_figures(post) for post in found]
    return EngagementAnswer(
        from_=start,
        to=end,
        network=network,
        posts=len(figures),
        engagements=sum(post.engagements for post in figures),
        by_reach=RateAnswer.of(by_reach(figures)),
        by_impressions=RateAnswer.of(by_impressions(figures)),
        by_followers=RateAnswer.of(by_followers(figures)),
        per_day=RateAnswer.of(per_day(_as_measured(found), Fraction((end - start) // _TICK, _DAY // _TICK))),
    )


def _refuse_the_future(posts: Sequence[PostWish], as_of: datetime) -> None:
    """A measurement of tomorrow would stand before each one that is made until then."""
    errors = tuple(
        FieldError(f"/posts/{number}/{name}", "this time is in the future", "time_in_future")
        for number, post in enumerate(posts)
        for name, moment in (("posted_at", post.posted_at), ("measured_at", post.measured_at))
        if moment is not None and is_to_come(moment, as_of)
    )
    if errors:
        raise Invalid(f"{errors[0].pointer}: {errors[0].detail}.", code="time_in_future", errors=errors)


def _as_measured(posts: Sequence[SocialPost]) -> list[PostFigures]:
    return [_figures(post) for post in sorted(posts, key=lambda post: post.measured_at)]


def _measured(post: PostWish, as_of: datetime) -> MeasuredPost:
    told = post.model_dump(exclude={"figures", "engagements", "posted_at", "measured_at"})
    engagements = post.figures.sum if post.figures is not None else post.engagements or 0
    measured_at, posted_at = min(post.measured_at or as_of, as_of), min(post.posted_at, as_of)
    return MeasuredPost(**told, posted_at=posted_at, measured_at=measured_at, engagements=engagements)


def _figures(post: SocialPost) -> PostFigures:
    return PostFigures(post.engagements, post.reach, post.impressions, post.followers, post.network)


def _rounded(percent: Fraction) -> float:
    return float(round(percent, _DIGITS))
