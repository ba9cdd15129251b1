"""Who counts as a follower of a shared link, what asks for sentiment, and how engagement rates are counted."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction

import pytest

from domain.engagement import Actor, Visit
from domain.shares import Follower, asks_for_sentiment, judge_follower
from domain.social import PostFigures, by_followers, by_impressions, by_reach, per_day

SAFARI = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Safari/605.1.15"


def visit(agent: str = SAFARI, **changes: object) -> Visit:
    return Visit(**{"method": "GET", "user_agent": agent, "since_accepted": timedelta(minutes=1), **changes})  # type: ignore[arg-type]  # by name


@pytest.mark.parametrize(
    "agent",
    ["WhatsApp/2.23.20.0", "TelegramBot (like TwitterBot)", "facebookexternalhit/1.1", "curl/8", "", "Slackbot 1.0"],
)
def test_programs_that_fetch_a_pasted_link_are_machines(agent: str) -> None:
    assert judge_follower(Follower(visit(agent), is_sharer=False)) is Actor.MACHINE


def test_a_person_counts_and_the_sharer_does_not() -> None:
    assert judge_follower(Follower(visit(), is_sharer=False)) is Actor.HUMAN
    assert judge_follower(Follower(visit(), is_sharer=True)) is Actor.UNKNOWN
    assert judge_follower(Follower(visit(method="HEAD"), is_sharer=False)) is Actor.MACHINE
    assert judge_follower(Follower(visit(since_accepted=timedelta(0)), is_sharer=False)) is Actor.MACHINE


@pytest.mark.parametrize(
    "path", ["rating", "properties.stars", "review.rating", "likes_count", "likes", "sentiment", "thumbs_up", "NPS"]
)
def test_stars_ratings_and_likes_are_sentiment(path: str) -> None:
    """Facebook forbids paying for likes, 16 CFR 465 for sentiment: same points for one star and five."""
    assert asks_for_sentiment(["action", path]) == path


@pytest.mark.parametrize("path", ["product_id", "start", "starship", "operating_system", "likelihood"])
def test_other_properties_are_not(path: str) -> None:
    assert asks_for_sentiment([path]) is None


POSTS = [
    PostFigures(30, reach=1_000, impressions=1_500, followers=2_000),
    PostFigures(10, reach=None, impressions=500, followers=None),
    PostFigures(20, reach=500, impressions=0, followers=4_000),
]


def test_each_variant_of_the_engagement_rate_has_its_own_denominator() -> None:
    assert by_reach(POSTS).percent == Fraction(50, 1_500) * 100
    assert by_impressions(POSTS).percent == 2
    assert by_followers(POSTS).percent == 1  # (1.5 + 0.5) / 2
    assert per_day(POSTS, 5).percent == Fraction(60, 4_000 * 5) * 100
    assert [rate.posts for rate in (by_reach(POSTS), by_impressions(POSTS), by_followers(POSTS))] == [2, 2, 2]


def test_without_a_denominator_there_is_no_rate() -> None:
    for rate in (by_reach([]), by_impressions([PostFigures(1)]), by_followers([PostFigures(1)]), per_day([], 3)):
        assert (rate.percent, rate.posts) == (None, 0)
