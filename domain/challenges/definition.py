"""The challenge document: what is measured over which events, in which window, up to which levels, for which prize."""

from __future__ import annotations

from datetime import MAXYEAR
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, Tag, model_validator

from domain.conditions.dates import moment_of
from domain.conditions.model import LARGEST, Predicate
from domain.conditions.operators import NameText, PathText, Text
from domain.document import Document, WholeNumber, by_key
from domain.documents import DOCUMENT_KEY
from domain.durations import PeriodText
from domain.local_time import ZONES
from domain.periods import Every

MOST_POINTS = 10_000_000
MOST_ROUNDS = 1_000

KeyText = Annotated[str, Field(pattern=DOCUMENT_KEY)]
EventNames = NameText | Annotated[list[NameText], Field(min_length=1, max_length=20)]


def _is_a_moment(text: str) -> str:
    moment = moment_of(text)
    if moment is None or moment.year == MAXYEAR:  # the day after the last one is no day
        raise ValueError("write a day, 2026-05-01, or an instant, 2026-05-01T09:00:00Z")
    return text


Moment = Annotated[str, Field(max_length=40, examples=["2026-05-01"]), AfterValidator(_is_a_moment)]
"""A day, which counts as a whole, or an instant."""

LevelText = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")]
Points = Annotated[WholeNumber, Field(ge=1, le=MOST_POINTS)]


class Badge(Document):
    """What a member may wear: shown as long as it is not revoked and, where it lapses, not older than `expires`.

    `most`: how many members may have it, whichever challenge they have it by; absent: all.
    """

    badge: KeyText
    name: Text | None = None
    image: Text | None = None
    expires: PeriodText | None = None
    most: Annotated[WholeNumber, Field(ge=1, le=1_000_000)] | None = None


class Prize(Document):
    """What is given: points by the ledger, a reward of the catalogue, or both."""

    points: Points | None = None
    expires: PeriodText | None = None  # of the points, from when they are given
    reward: KeyText | None = None

    @model_validator(mode="after")
    def _expiry_is_of_points(self) -> Self:
        if self.expires is not None and self.points is None:
            raise ValueError("expires says when the points lapse, and there are none; give points, or drop it")
        return self


class ChallengePrize(Prize):
    """The same, and a badge."""

    badge: Badge | None = None


class ChallengeLevel(ChallengePrize):
    """Reached when the figure is `at` or more."""

    level: LevelText
    at: Annotated[WholeNumber, Field(ge=1, le=2**53)]


class Measured(Document):
    """Mixin: which events count. A predicate may not refer to the customer: traits change, and the past must not."""

    where: list[Predicate] = Field(default_factory=list, max_length=LARGEST)


class Count(Measured):
    """How many events."""

    count: EventNames


class Sum(Measured):
    """The sum of a number in them; with `currency` it is money, in minor units, and other currencies do not count."""

    sum: PathText
    over: EventNames
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None


class Distinct(Measured):
    """How many different values of something in them."""

    distinct: PathText
    over: EventNames


class Freezes(Document):
    """Missed units that a streak survives: `start` at first, one more each `every` active units, up to `most`."""

    start: Annotated[WholeNumber, Field(ge=0, le=100)] = 0
    every: Annotated[WholeNumber, Field(ge=1, le=1_000)] | None = None
    most: Annotated[WholeNumber, Field(ge=1, le=100)] = 2


class Streak(Measured):
    """The longest run of local days, ISO weeks or months with at least one event each."""

    streak: Literal["day", "week", "month"]
    over: EventNames
    freezes: Freezes = Freezes()


Metric = Annotated[
    Annotated[Count, Tag("count")]
    | Annotated[Sum, Tag("sum")]
    | Annotated[Distinct, Tag("distinct")]
    | Annotated[Streak, Tag("streak")],
    by_key("count", "sum", "distinct", "streak"),
]


class EachPeriod(Document):
    """Each calendar period stands for itself."""

    every: Every


class SlidingWindow(Document):
    """At each moment what happened this long before it."""

    rolling: PeriodText


Window = Annotated[
    Annotated[EachPeriod, Tag("every")] | Annotated[SlidingWindow, Tag("rolling")], by_key("every", "rolling")
]


class Repeat(Document):
    """After the last level it begins anew within its period, up to `most` times altogether."""

    most: Annotated[WholeNumber, Field(ge=2, le=MOST_ROUNDS)] = MOST_ROUNDS


class Community(Document):
    """One figure for all members together; whoever gave at least `contribute` is rewarded when a level is reached."""

    contribute: Annotated[WholeNumber, Field(ge=1)] = 1


class RankPrize(ChallengePrize):
    """For ranks up to `to_rank` that no earlier prize took."""

    to_rank: Annotated[WholeNumber, Field(ge=1, le=1_000)]


class Leaderboard(Document):
    """Members by their figure in a period. `ties`: `first` (who got there first, then the smaller id: 1 2 3), `shared`
    (1 1 3) or `dense` (1 1 2). Final `grace` after the period's end, when late events have come in.
    """

    ties: Literal["first", "shared", "dense"] = "first"
    grace: PeriodText = "1d"
    prizes: list[RankPrize] = Field(default_factory=list, max_length=20)

    @model_validator(mode="after")
    def _prizes_go_down(self) -> Self:
        ranks = [prize.to_rank for prize in self.prizes]
        if ranks != sorted(set(ranks)):
            raise ValueError("prizes stand in the order of their ranks, each rank once")
        return self


class ChallengeDefinition(Document):
    """One challenge. Without `from` events count from its first publication on; `until` includes its day.

    `zone` fixes the calendar; without it the member's own counts, or the shop's where members are compared.
    """

    challenge: KeyText
    name: Text = ""
    description: Text = ""
    metric: Metric
    levels: list[ChallengeLevel] = Field(default_factory=list, max_length=50)
    window: Window | None = None
    from_: Moment | None = Field(default=None, alias="from")
    until: Moment | None = None
    zone: str | None = Field(default=None, json_schema_extra={"examples": ["Europe/Berlin"]})
    repeat: Repeat | None = None
    requires: list[KeyText] = Field(default_factory=list, max_length=20)
    refunds: Literal["ignore", "uncount", "revoke"] = "uncount"
    community: Community | None = None
    leaderboard: Leaderboard | None = None

    @property
    def event_names(self) -> frozenset[str]:
        """The names of the events that it measures."""
        names = self.metric.count if isinstance(self.metric, Count) else self.metric.over
        return frozenset([names] if isinstance(names, str) else names)

    @property
    def every(self) -> Every | None:
        """Its calendar, if it has one."""
        return self.window.every if isinstance(self.window, EachPeriod) else None

    @property
    def rounds(self) -> int:
        """How often it can be completed within a period."""
        return self.repeat.most if self.repeat else 1

    @property
    def is_shared(self) -> bool:
        """Whether members are compared or added up, so that all need one calendar."""
        return self.community is not None or self.leaderboard is not None

    @property
    def goal(self) -> Decimal | None:
        """The figure of the last level."""
        return Decimal(self.levels[-1].at) if self.levels else None

    @model_validator(mode="after")
    def _is_of_one_mind(self) -> Self:
        _check_levels(self.levels)
        if not self.levels and self.leaderboard is None:
            raise ValueError("a challenge needs levels to reach, or a leaderboard")
        if self.zone is not None and self.zone not in ZONES:
            raise ValueError(f"{self.zone!r} is not the name of an IANA time zone, such as Europe/Berlin")
        is_rolling = isinstance(self.window, SlidingWindow)
        if is_rolling and isinstance(self.metric, Streak):
            raise ValueError("a streak breaks by itself; it has no rolling window")
        if is_rolling and self.is_shared:
            raise ValueError("members are compared and added up over calendar periods or the whole challenge")
        if self.is_shared and self.repeat:
            raise ValueError("what is shared is completed once a period; drop repeat")
        if self.challenge in self.requires:
            raise ValueError("a challenge cannot require itself")
        return self


def _check_levels(levels: list[ChallengeLevel]) -> None:
    if len({level.level for level in levels}) < len(levels):
        raise ValueError("each level has a name of its own")
    heights = [level.at for level in levels]
    if heights != sorted(set(heights)):
        raise ValueError("levels stand in rising order, each higher than the one before")


for _model in (Count, Sum, Distinct, Streak, ChallengeDefinition):
    _model.model_rebuild()
