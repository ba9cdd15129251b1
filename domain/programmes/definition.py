"""The programme document: its points, how they are earned, its tiers and what a referral pays.

Amounts of money are minor units, points whole numbers. Calendar periods, days and expiry follow `zone`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, Tag, field_validator, model_validator

from domain.document import Document, WholeNumber, by_key
from domain.documents import DOCUMENT_KEY
from domain.durations import PeriodText
from domain.events import EARLIEST
from domain.journeys.matches import EventMatch
from domain.programmes.rules import (
    MOST_POINTS,
    Clawback,
    DayText,
    EarnRule,
    Expiry,
    Money,
    Multiplier,
    Name,
    Pending,
    PointsCount,
    check_day,
)
from domain.shop_settings import Currency

Key = Annotated[str, StringConstraints(pattern=DOCUMENT_KEY)]


class PointsTerms(Document):
    """What the points are called, and what one is worth to a customer and costs the shop (its share of the worth)."""

    name: str = Field(default="points", min_length=1, max_length=50)
    value: Money | None = None
    cost_share: float = Field(default=1, ge=0, le=1)


# Tiers ---------------------------------------------------------------------------------------------------


class RollingWindow(Document):
    """The period counted back from each moment; a tier is kept for as long, counted from (re)qualifying."""

    rolling: PeriodText


class CalendarWindow(Document):
    """Calendar periods of the programme's zone."""

    calendar: Literal["month", "quarter", "half", "year"]


class AnniversaryWindow(Document):
    """Periods of this length that begin on the day the customer was first seen."""

    anniversary: PeriodText = "1y"


class LifetimeWindow(Document):
    """Everything ever counts, and nobody goes down."""

    lifetime: Literal[True]


Window = Annotated[
    Annotated[RollingWindow, Tag("rolling")]
    | Annotated[CalendarWindow, Tag("calendar")]
    | Annotated[AnniversaryWindow, Tag("anniversary")]
    | Annotated[LifetimeWindow, Tag("lifetime")],
    by_key("rolling", "calendar", "anniversary", "lifetime"),
]


class PointsMeasure(Document):
    """Points that rules of the programme paid, whatever was spent since."""

    points: Literal["earned"]
    window: Window


class SpendMeasure(Document):
    """The total of orders in `currency` (absent: the shop's), in minor units, less what was refunded."""

    spend: Literal["total", "subtotal", "revenue"]
    currency: Currency | None = None
    window: Window


class OrdersMeasure(Document):
    """Completed orders that were not cancelled or refunded whole."""

    orders: Literal["completed"]
    window: Window


Measure = Annotated[
    Annotated[PointsMeasure, Tag("points")]
    | Annotated[SpendMeasure, Tag("spend")]
    | Annotated[OrdersMeasure, Tag("orders")],
    by_key("points", "spend", "orders"),
]


class Level(Document):
    """A tier, reached `from` so much of the measure. What it says about earning overrides the rules."""

    tier: Name
    name: str | None = Field(default=None, max_length=200)
    from_: Annotated[WholeNumber, Field(ge=0, le=2**53)] = Field(alias="from")
    for_life: bool = Field(default=False, description="Once reached, never left.")
    benefits: list[Annotated[str, StringConstraints(max_length=500)]] = Field(default_factory=list, max_length=50)
    multiply: float | None = Field(default=None, ge=0, le=1_000_000, description="Multiplies what every rule pays.")
    pending: Pending | None = None
    expires: Expiry | None = None


class Downgrade(Document):
    """How a tier is left: at the end of its period and the grace after it, by `one` level or to the `qualified` one."""

    when: Literal["period_end", "never"] = "period_end"
    by: Literal["one", "qualified"] = "one"
    grace: PeriodText = "0d"


class Tiers(Document):
    """The ladder, from the lowest level to the highest."""

    measure: Measure
    levels: list[Level] = Field(min_length=1, max_length=50)
    downgrade: Downgrade = Downgrade()


# Referrals -----------------------------------------------------------------------------------------------


class Gain(Document):
    """What one side of a referral gets: points, a reward of the catalogue, or both."""

    points: PointsCount | None = None
    reward: Key | None = None
    expires: Expiry | None = None

    @model_validator(mode="after")
    def _is_something(self) -> Gain:
        if self.points is None and self.reward is None:
            raise ValueError("give points, a reward or both")
        return self


class ReferralLimit(Document):
    """The most rewarded referrals of one referrer in a calendar period; absent: in all."""

    per_referrer: Annotated[WholeNumber, Field(ge=0, le=MOST_POINTS)]
    per: PeriodText | None = None


class Referral(Document):
    """When a friend counts, how long both wait, and what each gets."""

    qualifies_on: EventMatch
    hold: PeriodText = "14d"
    valid: PeriodText = Field(default="90d", description="How long after claiming the friend can qualify.")
    referrer: Gain | None = None
    referee: Gain | None = None
    limit: ReferralLimit | None = None


# The document --------------------------------------------------------------------------------------------


class ProgrammeDefinition(Document):
    """One version of a programme, as a marketer writes it.

    `restore_grace`: how long points that come back after a failed fulfilment can be used at least.
    `edits`: how long after an order an `Order Updated` changes what it earned.
    `warn`: how long before points lapse `Points Expiring` comes.
    """

    programme: Key
    name: str | None = Field(default=None, max_length=200)
    description: str | None = Field(default=None, max_length=2_000)
    zone: str | None = Field(
        default=None, max_length=100, examples=["Europe/Berlin"], description="Absent: the shop's."
    )
    points: PointsTerms = PointsTerms()
    earn: list[EarnRule] = Field(default_factory=list, max_length=200)
    multiply: list[Multiplier] = Field(default_factory=list, max_length=50, description="For all rules.")
    expires: Expiry | None = Field(default=None, description="Of points whose rule says nothing.")
    clawback: Clawback = "deficit"
    restore_grace: PeriodText = "30d"
    edits: PeriodText = "30d"
    warn: list[PeriodText] = Field(default_factory=list, max_length=10)
    history_from: DayText | None = Field(
        default=None, description="From this day on imported history earns, at its own dates."
    )
    guests: Literal["claim", "forfeit"] = Field(
        default="claim", description="What becomes of orders made before we knew the customer."
    )
    tiers: Tiers | None = None
    referral: Referral | None = None

    @field_validator("history_from")
    @classmethod
    def _is_a_day_that_is_kept(cls, told: str | None) -> str | None:
        if told is not None:
            check_day(told)
            if told < EARLIEST.date().isoformat():
                raise ValueError(f"no event is kept from before {EARLIEST:%Y-%m-%d}")
        return told

    def takes_imports(self, rule: EarnRule) -> bool:
        """Whether imported history earns by a rule at all."""
        return self.history_from is not None if rule.imports is None else rule.imports

    @property
    def thresholds(self) -> dict[str, int]:
        """Each level of the tiers with what it takes."""
        return {} if self.tiers is None else {level.tier: level.from_ for level in self.tiers.levels}

    def rule(self, name: str) -> EarnRule | None:
        """The rule of that name."""
        return next((rule for rule in self.earn if rule.rule == name), None)

    def level(self, tier: str | None) -> Level | None:
        """The tier of that name."""
        levels = self.tiers.levels if self.tiers is not None else []
        return next((level for level in levels if level.tier == tier), None)
