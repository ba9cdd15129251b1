"""The forms of the condition language. Their meaning: `memory.py` and `database/conditions.py`, which agree."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from domain.conditions.operators import FIGURE_OPERATORS, Compared, MomentText, NameText, Operator, PathText, Text
from domain.document import FROM_ARRAY, Document, by_key
from domain.durations import PeriodText, parse_duration

DEEPEST = 20
"""Logic forms within each other."""

LARGEST = 300
"""Forms and predicates in one condition."""


class Logic(Document):
    """Mixin of the logic forms: how deep and how large the tree below is; both are limited, so judging it is cheap."""

    @property
    def inner(self) -> Sequence[Document]:
        """The forms directly inside."""
        [inner] = (getattr(self, name) for name in type(self).model_fields)
        return inner if isinstance(inner, list) else [inner]

    @cached_property
    def depth(self) -> int:
        """Logic forms within each other, this one included."""
        return 1 + max((one.depth for one in self.inner if isinstance(one, Logic)), default=0)

    @cached_property
    def size(self) -> int:
        """Forms and predicates in this tree, this one included."""
        return 1 + sum(size_of(one) for one in self.inner)

    @model_validator(mode="after")
    def _is_within_limits(self) -> Self:
        if self.depth > DEEPEST:
            raise PydanticCustomError("too_deep", "logic may be nested {most} levels deep", {"most": DEEPEST})
        if self.size > LARGEST:
            raise PydanticCustomError("too_large", "a condition may have {most} parts", {"most": LARGEST})
        return self


def size_of(form: Document) -> int:
    """Forms and predicates in a condition or predicate."""
    match form:
        case Logic():
            return form.size
        case Did(where=where) | AggregateIs(where=where):
            return 1 + sum(size_of(one) for one in where)
        case _:
            return 1


# Predicates over one event's payload -------------------------------------------------------------


class PropertyIs(Compared):
    """`{"property": "total", "gte": 20}`: a path into the event's properties."""

    property: PathText


class AllOf(Logic):
    """True when every predicate is; an empty list is true."""

    all: list[Predicate]


class AnyOf(Logic):
    """True when at least one predicate is; an empty list is false."""

    any: list[Predicate]


class NotOf(Logic):
    """True when the predicate is false."""

    not_: Predicate = Field(alias="not")


Predicate = Annotated[
    Annotated[AllOf, Tag("all")]
    | Annotated[AnyOf, Tag("any")]
    | Annotated[NotOf, Tag("not")]
    | Annotated[PropertyIs, Tag("property")],
    by_key("all", "any", "not", "property"),
]

# Conditions over a customer ----------------------------------------------------------------------


class AllHold(Logic):
    """True when every condition is; an empty list is true."""

    all: list[Condition]


class AnyHolds(Logic):
    """True when at least one condition is; an empty list is false."""

    any: list[Condition]


class NotHolds(Logic):
    """True when the condition is false."""

    not_: Condition = Field(alias="not")


class TraitIs(Compared):
    """The customer's trait at a path compares so."""

    trait: PathText


class TimeBounded(Document):
    """Mixin: which events count, by their timestamp."""

    within: PeriodText | None = None
    since: MomentText | None = None
    until: MomentText | None = None
    since_entry: bool = False


class Did(TimeBounded):
    """Counts the customer's events of one name; `at_least` 1 unless something else is said."""

    did: NameText
    where: list[Predicate] = Field(default_factory=list, max_length=LARGEST)
    at_least: int | None = Field(default=None, ge=0)
    at_most: int | None = Field(default=None, ge=0)
    exactly: int | None = Field(default=None, ge=0)

    @property
    def bounds(self) -> tuple[int, int | None]:
        """The least and the greatest number of events that is right; None: no greatest."""
        if self.exactly is not None:
            return self.exactly, self.exactly
        default = 1 if self.at_most is None else 0
        return (default if self.at_least is None else self.at_least), self.at_most

    @model_validator(mode="after")
    def _counts_one_way(self) -> Self:
        if self.exactly is not None and (self.at_least is not None or self.at_most is not None):
            raise ValueError("exactly stands alone; write at_least and at_most for a range")
        return self


class AggregateIs(Compared, TimeBounded):
    """A figure over the customer's events compares so; `of` is a path into the event (`properties.total`).

    Amounts count that are in `currency` (the shop's, where none is written).
    """

    aggregate: Literal["sum", "avg", "min", "max", "count", "count_distinct"]
    over: NameText
    of: PathText | None = None
    currency: str | None = Field(default=None, pattern=r"^[A-Z]{3}$", description="Of amounts.")
    where: list[Predicate] = Field(default_factory=list, max_length=LARGEST)

    @model_validator(mode="after")
    def _compares_a_number(self) -> Self:
        if self.aggregate != "count" and self.of is None:
            raise ValueError(f"{self.aggregate} needs of: a path into the event, such as properties.total")
        if self.currency is not None and self.aggregate in ("count", "count_distinct"):
            raise ValueError("currency belongs to sum, avg, min and max of amounts: write it there, or leave it out")
        if self.comparison.operator not in FIGURE_OPERATORS:
            raise ValueError(f"an aggregate is a number; compare it by one of {', '.join(FIGURE_OPERATORS)}")
        return self


class MessageWas(Document):
    """At least one message of ours came so far; opens and clicks are those of people, not of machines."""

    message: Literal["sent", "delivered", "opened", "clicked", "bounced", "complained"]
    template: NameText | None = None
    journey: NameText | None = None
    campaign: NameText | None = None
    channel: NameText | None = None
    within: PeriodText | None = None


class ConsentIs(Document):
    """The consent state for a purpose, on one channel."""

    consent: NameText
    channel: NameText = "email"
    eq: Literal["subscribed", "unsubscribed", "pending", "none"] = "subscribed"


class EventIs(Compared):
    """The payload of the event at hand (a journey's entry event). Its path starts there: `properties.cart_id`."""

    event: PathText


class SavedIs(Compared):
    """What a step of this run kept under its `save_as` compares so; the path starts with that name: `stock.left`."""

    saved: PathText


class VariantIs(Document):
    """The arm that this run got at a split step."""

    variant: NameText
    eq: NameText


class InBucket(Document):
    """Stable hash of the customer and the salt, in percent: `[0, 20]` means 0 <= hash < 20."""

    bucket: Annotated[tuple[float, float], FROM_ARRAY]
    salt: Text = ""

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        low, high = self.bucket
        if not 0 <= low < high <= 100:
            raise ValueError("a bucket is a range [from, to) within 0 and 100")
        return self


class SegmentIs(Document):
    """Membership of a segment."""

    segment: NameText


class PointsAre(Compared):
    """A figure of the customer's points compares so, as of the moment; missing while no programme is live."""

    points: Literal["available", "pending", "earned", "spent", "expiring"]
    within: PeriodText | None = Field(default=None, description="Of `expiring`: how soon.")

    @model_validator(mode="after")
    def _compares_a_number(self) -> Self:
        if (self.points == "expiring") != (self.within is not None):
            raise ValueError("within says how soon points expire: write it with expiring, and only there")
        if self.comparison.operator not in FIGURE_OPERATORS:
            raise ValueError(f"points are a number; compare them by one of {', '.join(FIGURE_OPERATORS)}")
        return self


_AGE_OPERATORS = (Operator.GT, Operator.GTE, Operator.LT, Operator.LTE, Operator.BETWEEN, Operator.EXISTS)


class CartIs(Compared):
    """A figure of the customer's open cart compares so; without such a cart it is missing.

    `total` is in minor units of `currency` (the shop's, where none is written), `age` the time since the last change.
    """

    cart: Literal["total", "items", "age"]
    currency: str | None = Field(default=None, pattern=r"^[A-Z]{3}$", description="Of `total`.")

    @property
    def ages(self) -> list[tuple[Operator, str]]:
        """What the age is compared with, bounds one by one."""
        operator, operand, _ = self.comparison
        if operator is Operator.BETWEEN:
            return [(Operator.GTE, operand[0]), (Operator.LTE, operand[1])]
        return [(operator, operand)]

    @model_validator(mode="after")
    def _compares_what_it_is(self) -> Self:
        operator, operand, _ = self.comparison
        allowed = _AGE_OPERATORS if self.cart == "age" else FIGURE_OPERATORS
        if operator not in allowed:
            raise ValueError(f"compare the cart's {self.cart} by one of {', '.join(allowed)}")
        if self.currency is not None and self.cart != "total":
            raise ValueError("currency belongs to total: write it there, or leave it out")
        if self.cart == "age" and operator is not Operator.EXISTS:
            for length in operand if operator is Operator.BETWEEN else [operand]:
                if not isinstance(length, str) or length.startswith("-"):
                    raise ValueError("an age is a length of time: write a number and a unit, such as 2h or 3d")
                parse_duration(length)
        return self


class TierAtLeast(Document):
    """This tier or a higher one."""

    at_least: NameText


class TierIs(Document):
    """The current tier of the programme that is live."""

    tier: NameText | TierAtLeast


class ScoreIs(Compared):
    """The latest prediction compares so."""

    score: Literal["churn", "lifetime_value", "engagement"]


FORMS = (
    "all", "any", "not", "trait", "did", "aggregate", "message", "consent",
    "event", "saved", "variant", "bucket", "segment", "points", "tier", "cart", "score",
)  # fmt: skip

Condition = Annotated[
    Annotated[AllHold, Tag("all")]
    | Annotated[AnyHolds, Tag("any")]
    | Annotated[NotHolds, Tag("not")]
    | Annotated[TraitIs, Tag("trait")]
    | Annotated[Did, Tag("did")]
    | Annotated[AggregateIs, Tag("aggregate")]
    | Annotated[MessageWas, Tag("message")]
    | Annotated[ConsentIs, Tag("consent")]
    | Annotated[EventIs, Tag("event")]
    | Annotated[SavedIs, Tag("saved")]
    | Annotated[VariantIs, Tag("variant")]
    | Annotated[InBucket, Tag("bucket")]
    | Annotated[SegmentIs, Tag("segment")]
    | Annotated[PointsAre, Tag("points")]
    | Annotated[TierIs, Tag("tier")]
    | Annotated[CartIs, Tag("cart")]
    | Annotated[ScoreIs, Tag("score")],
    by_key(*FORMS),
]
