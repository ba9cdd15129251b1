"""How challenges, badges and leaderboards are shown."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, WithJsonSchema

from api.document_bodies import draft_schema
from database.challenge_progress import ChallengeCompletion
from database.challenge_trials import Trial
from database.challenges import KIND
from database.leaderboards import Ranked
from domain.challenges.definition import Badge, ChallengeDefinition, ChallengeLevel

Number = int | float


def number(figure: Decimal) -> Number:
    """Whole figures as integers; money is minor units, so only sums of other numbers have digits after the point."""
    return int(figure) if figure == figure.to_integral_value() else float(figure)


Missed = Literal["contributed_too_late", "contributed_too_little"]


class LevelAnswer(BaseModel):
    """A level, and when the member reached it in this round."""

    level: str
    at: int
    points: int | None
    reward: str | None
    badge: str | None
    reached_at: AwareDatetime | None
    missed: Missed | None = Field(
        description="Why this member gets nothing for a level that all have reached together: the contribution came "
        "after it was handed out, or is less than `contribute`."
    )

    @classmethod
    def of(cls, level: ChallengeLevel, reached: ChallengeCompletion | None, missed: Missed | None) -> Self:
        """From the definition and the completion."""
        return cls(
            level=level.level,
            at=level.at,
            points=level.points,
            reward=level.reward,
            badge=level.badge.badge if level.badge else None,
            reached_at=reached.reached_at if reached else None,
            missed=missed,
        )


class NextLevel(BaseModel):
    """The level to come, and how much is left to it."""

    level: str
    at: int
    left: Number


class StreakAnswer(BaseModel):
    """A streak as it stands now. `at_risk`: nothing happened in this day, week or month yet."""

    unit: Literal["day", "week", "month"]
    length: int
    best: int
    freezes: int
    at_risk: bool


class CommunityLevelAnswer(BaseModel):
    """A level that all members have reached together."""

    level: str
    reached_at: AwareDatetime


class CommunityAnswer(BaseModel):
    """The total of all members."""

    figure: Number
    reached: list[CommunityLevelAnswer]


class MemberChallenge(BaseModel):
    """Where a member stands in a challenge, in the period that is running."""

    challenge: str
    name: str
    description: str
    period: str
    ends_at: AwareDatetime | None
    figure: Number
    round: int
    completed: bool
    next: NextLevel | None
    levels: list[LevelAnswer]
    requires: list[str]
    locked: bool = Field(description="Something that it requires is not completed yet.")
    paused: bool
    streak: StreakAnswer | None
    community: CommunityAnswer | None


class MemberChallenges(BaseModel):
    """All challenges that are open to a member."""

    data: list[MemberChallenge]


class BadgeAnswer(BaseModel):
    """A badge that a member may wear."""

    badge: str
    name: str | None
    image: str | None
    challenge: str
    level: str
    period: str
    earned_at: AwareDatetime
    expires_at: AwareDatetime | None

    @classmethod
    def of(cls, row: ChallengeCompletion) -> Self:
        """From a completion with a badge."""
        badge = Badge.model_validate(row.badge)
        return cls(
            badge=badge.badge,
            name=badge.name,
            image=badge.image,
            challenge=row.challenge,
            level=row.level,
            period=row.period,
            earned_at=row.reached_at,
            expires_at=row.badge_expires_at,
        )


class MemberBadges(BaseModel):
    """The badges of a member, the latest first."""

    data: list[BadgeAnswer]


class RankAnswer(BaseModel):
    """One line of a leaderboard."""

    rank: int
    customer_id: str | None
    figure: Number
    last_at: AwareDatetime

    @classmethod
    def of(cls, line: Ranked) -> Self:
        """From a row."""
        return cls(rank=line.rank, customer_id=line.customer_id, figure=number(line.figure), last_at=line.last_at)


class LeaderboardAnswer(BaseModel):
    """A page of a leaderboard. `ties` says how equal figures are ranked; a final one never changes."""

    challenge: str
    period: str
    ties: Literal["first", "shared", "dense"]
    final: bool
    finalised_at: AwareDatetime | None
    data: list[RankAnswer]
    next_cursor: str | None = None


Definition = Annotated[dict[str, Any], WithJsonSchema(draft_schema(ChallengeDefinition, KIND))]


class ChallengeTrialWish(BaseModel):
    """Which definition is to be tried; absent: the saved draft."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    definition: Definition | None = None


class TrialLevel(BaseModel):
    """How many would reach a level now, and how often altogether."""

    level: str
    members: int
    completions: int


class ChallengeTrial(BaseModel):
    """Who would complete it now, by what is recorded. `members`: who did something that counts."""

    members: int
    levels: list[TrialLevel]
    points: int
    already_given: int = Field(description="Completions besides these that earlier versions gave: none is given again.")
    sample: list[str]
    complete: bool = Field(description="Everybody was looked at; false: the shop has too many customers for a try.")

    @classmethod
    def of(cls, found: Trial, levels: Sequence[ChallengeLevel]) -> Self:
        """From what was found."""
        return cls(
            members=found.members,
            levels=[
                TrialLevel(
                    level=level.level,
                    members=found.completed[level.level],
                    completions=found.completions[level.level],
                )
                for level in levels
            ],
            points=found.points,
            already_given=found.given,
            sample=found.sample,
            complete=found.is_complete,
        )


def latest(rows: Sequence[ChallengeCompletion], as_of: datetime) -> list[BadgeAnswer]:
    """The badges that count now, each once, the latest first: not those that were revoked or have lapsed."""
    shown: dict[str, BadgeAnswer] = {}
    for row in sorted(rows, key=lambda each: each.reached_at, reverse=True):
        has_lapsed = row.badge_expires_at is not None and row.badge_expires_at <= as_of
        if row.badge is not None and row.revoked_at is None and not has_lapsed:
            answer = BadgeAnswer.of(row)
            shown.setdefault(answer.badge, answer)
    return list(shown.values())
