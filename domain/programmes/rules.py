"""The earning rules of a programme as they are written: on which event, how much, when it counts and how long."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, Tag, model_validator

from domain.conditions.model import Condition, Predicate
from domain.conditions.operators import NameText, PathText
from domain.document import Document, WholeNumber, by_key
from domain.durations import PeriodText
from domain.journeys.matches import EventMatch
from domain.shop_settings import Currency

NAME = r"^[a-z][a-z0-9_-]{0,62}$"
MOST_POINTS = 1_000_000_000
"""No single rule pays more: beyond it an amount is a mistake."""

Name = Annotated[str, StringConstraints(pattern=NAME)]
PointsCount = Annotated[WholeNumber, Field(ge=0, le=MOST_POINTS)]
Rate = Annotated[float, Field(ge=0, le=1_000_000)]
"""A decimal factor, read exactly as it is written: `exactly(1.1)` is 11/10."""
DayText = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$")]


@lru_cache(maxsize=4_096)
def exactly(rate: float) -> Fraction:
    """The decimal number that was written, not the binary one beside it."""
    return Fraction(Decimal(str(rate)))


class Money(Document):
    """An amount in minor units: `{amount: 100, currency: EUR}` is one euro."""

    amount: Annotated[WholeNumber, Field(ge=1, le=2**53)]
    currency: Currency


class Quantity(Document):
    """A number of pieces."""

    quantity: Annotated[WholeNumber, Field(ge=1, le=1_000_000)]


Per = Annotated[
    Annotated[Money, Tag("amount")] | Annotated[Quantity, Tag("quantity")],
    by_key("amount", "quantity"),
]

# How many points -----------------------------------------------------------------------------------------


class FixedAmount(Document):
    """The same points for every event."""

    points: PointsCount


class RatedAmount(Document):
    """`points` for each `per` of what `of` says (a path into the event), or of the `lines` of its products.

    `per` money: `of` is an amount as the shop sent it (30 is 30.00), lines count price times quantity. `per` a
    quantity: `of` is a number, lines count their quantities. Several values at a path add up. The rate stays exact,
    multipliers included, and `round` is done once for the rule and event.
    """

    per: Per
    of: PathText | None = None
    lines: list[Predicate] | None = Field(default=None, max_length=50)
    points: Rate = 1
    round: Literal["floor", "half_even", "ceiling"] = "floor"

    @model_validator(mode="after")
    def _has_one_basis(self) -> RatedAmount:
        if (self.of is None) == (self.lines is None):
            raise ValueError("say what is counted: `of`, such as properties.subtotal, or `lines` of the products")
        return self


Amount = Annotated[
    Annotated[RatedAmount, Tag("per")] | Annotated[FixedAmount, Tag("points")],
    by_key("per", "points"),
]


class Multiplier(Document):
    """Multiplies the rate while its condition holds; of several the product counts."""

    if_: Condition | None = Field(default=None, alias="if")
    by: Rate


# When they count, and how long ---------------------------------------------------------------------------


class UntilDay(Document):
    """Points mature at the first instant of this local day."""

    date: DayText

    @model_validator(mode="after")
    def _is_a_day(self) -> UntilDay:
        check_day(self.date)
        return self


class UntilPeriodEnd(Document):
    """Points mature when the calendar period that they were earned in is over: `1mo` is the end of the month."""

    period_end: PeriodText


class UntilEvent(Document):
    """Points mature at the customer's next event of this name about the same order; `within` at the latest."""

    event: NameText
    within: PeriodText = "90d"


Pending = (
    PeriodText
    | Annotated[
        Annotated[UntilDay, Tag("date")]
        | Annotated[UntilPeriodEnd, Tag("period_end")]
        | Annotated[UntilEvent, Tag("event")],
        by_key("date", "period_end", "event"),
    ]
)

Rounding = Literal["end_of_day", "end_of_month", "end_of_quarter", "end_of_year"]


class ExpiresAfter(Document):
    """Points lapse this long after they became available; rounded up to the first instant of the next local period."""

    after: PeriodText
    round: Rounding | None = None


class ExpiresOn(Document):
    """Points lapse when this local day is over, the next one after they became available (29 February: the 28th)."""

    on: Annotated[str, StringConstraints(pattern=r"^(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$")] = Field(
        examples=["12-31"], description="Month and day, every year."
    )

    @model_validator(mode="after")
    def _is_a_day(self) -> ExpiresOn:
        check_day(f"2024-{self.on}")
        return self


class ExpiresNever(Document):
    """Points that never lapse."""

    never: Literal[True]


Expiry = Annotated[
    Annotated[ExpiresAfter, Tag("after")] | Annotated[ExpiresOn, Tag("on")] | Annotated[ExpiresNever, Tag("never")],
    by_key("after", "on", "never"),
]

# How often -----------------------------------------------------------------------------------------------


class EarnLimit(Document):
    """At most so much for one customer in a calendar period of the programme's zone (`per`; absent: in all).

    `clip` pays what is left, `reject` pays nothing to an earning that does not fit whole. What is counted are points;
    where the amount is fixed and the limit rejects, times: `{per_customer: 3, over: reject}` is three reviews.
    """

    per_customer: Annotated[WholeNumber, Field(ge=0, le=MOST_POINTS)]
    per: PeriodText | None = None
    over: Literal["clip", "reject"] = "clip"
    counts: Literal["points", "times"] | None = None


OncePer = PathText | Literal["customer"]


class EarnRule(Document):
    """What one kind of event earns.

    `once_per` names what can earn only once under this rule, in the whole programme: a path into the event or
    `customer`, or several together. Absent, it is the order for the events of orders, else the event itself.
    `verify`: the event alone does not pay, a click back by somebody else or a person's review does.
    """

    rule: Name
    name: str | None = Field(default=None, max_length=200)
    on: EventMatch
    if_: Condition | None = Field(default=None, alias="if")
    amount: Amount
    multiply: list[Multiplier] = Field(default_factory=list, max_length=50)
    pending: Pending | None = None
    expires: Expiry | None = None
    limit: EarnLimit | None = None
    once_per: OncePer | list[OncePer] | None = None
    verify: Literal["click_back", "review"] | None = None
    imports: bool | None = Field(
        default=None, description="Whether imported history earns. Absent: where the programme says `history_from`."
    )
    clawback: Clawback | None = Field(default=None, description="Absent: the programme's.")

    @property
    def counts_times(self) -> bool:
        """Whether the limit counts earnings rather than points."""
        if self.limit is None or self.limit.counts is not None:
            return self.limit is not None and self.limit.counts == "times"
        return isinstance(self.amount, FixedAmount) and self.limit.over == "reject"


Clawback = Literal["deficit", "available", "keep"]
"""What a refund takes back: all, below zero if it must; only what is there; nothing."""


def check_day(text: str) -> None:
    """Raises ValueError unless it is a day of the calendar."""
    try:
        date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text} is not a day of the calendar") from error


EarnRule.model_rebuild()
