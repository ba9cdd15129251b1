"""The typed forms of the condition language. Their meaning: `memory.py` and `database/conditions.py`, which agree."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Discriminator, Field, Tag, model_validator

from domain.document import Document
from domain.durations import DurationText

Scalar = str | int | float | bool | None


class Reference(Document):
    """A value looked up when the condition is judged: from the run's entry event, the customer or what a step saved."""

    entry: str | None = None
    customer: str | None = None
    saved: str | None = None

    @model_validator(mode="after")
    def _names_one_source(self) -> Reference:
        if len(self.model_fields_set) != 1:
            raise ValueError("a reference names exactly one of entry, customer, saved")
        return self


Value = Reference | Scalar


class Operator(StrEnum):
    """How a value is compared; the negated ones are exact negations, all others are false on a missing value."""

    EQ = "eq"
    NE = "ne"
    IN = "in"
    NOT_IN = "not_in"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    BETWEEN = "between"
    CONTAINS = "contains"
    NOT_CONTAINS = "not_contains"
    STARTS_WITH = "starts_with"
    ENDS_WITH = "ends_with"
    MATCHES_ANY = "matches_any"
    EXISTS = "exists"
    BEFORE = "before"
    AFTER = "after"
    WITHIN_LAST = "within_last"
    WITHIN_NEXT = "within_next"
    SAME_DAY = "same_day"
    ANNIVERSARY_WITHIN = "anniversary_within"


class Comparison(NamedTuple):
    """One operator with its operand, as the evaluators read it."""

    operator: Operator
    operand: Any  # a Value, a list of them, a duration text or a bool, as the operator's field says
    ignore_case: bool


class Compared(Document):
    """Mixin of all forms that compare a value: exactly one operator."""

    eq: Value = None
    ne: Value = None
    in_: list[Value] | None = Field(default=None, alias="in")
    not_in: list[Value] | None = None
    gt: Value = None
    gte: Value = None
    lt: Value = None
    lte: Value = None
    between: tuple[Value, Value] | None = None
    contains: Value = None
    not_contains: Value = None
    starts_with: Value = None
    ends_with: Value = None
    matches_any: list[str] | None = None
    exists: bool | None = None
    before: Value = None
    after: Value = None
    within_last: DurationText | None = None
    within_next: DurationText | None = None
    same_day: Value = None
    anniversary_within: DurationText | None = None
    case: Literal["exact", "ignore"] = "exact"

    @property
    def comparison(self) -> Comparison:
        """The operator that was written, with its operand."""
        name = next(name for name in _operator_fields(self) if name in self.model_fields_set)
        return Comparison(Operator(name.rstrip("_")), getattr(self, name), self.case == "ignore")

    @model_validator(mode="after")
    def _has_one_operator(self) -> Compared:
        written = [name.rstrip("_") for name in _operator_fields(self) if name in self.model_fields_set]
        if len(written) != 1:
            found = ", ".join(written) or "none"
            raise ValueError(f"exactly one operator is needed ({', '.join(Operator)}); found {found}")
        return self


def _operator_fields(model: Compared) -> list[str]:
    return [name for name in Compared.model_fields if name != "case"]


# Predicates over one event's payload -------------------------------------------------------------


class PropertyIs(Compared):
    """`{"property": "total", "gte": 20}`: a path into the event's properties."""

    property: str


class AllOf(Document):
    """True when every predicate is; an empty list is true."""

    all: list[Predicate]


class AnyOf(Document):
    """True when at least one predicate is; an empty list is false."""

    any: list[Predicate]


class NotOf(Document):
    """True when the predicate is false."""

    not_: Predicate = Field(alias="not")


def _form(*keys: str) -> Any:  # pydantic's discriminator takes the raw value and answers a tag
    def tag(value: Any) -> str | None:
        for key in keys:
            name = "not_" if key == "not" else key
            if (isinstance(value, dict) and key in value) or (not isinstance(value, dict) and hasattr(value, name)):
                return key
        return None

    return Discriminator(
        tag,
        custom_error_type="unknown_form",
        custom_error_message=f"not a known form: it must be an object with one of the keys {', '.join(keys)}",
    )


Predicate = Annotated[
    Annotated[AllOf, Tag("all")]
    | Annotated[AnyOf, Tag("any")]
    | Annotated[NotOf, Tag("not")]
    | Annotated[PropertyIs, Tag("property")],
    _form("all", "any", "not", "property"),
]

# Conditions over a customer ----------------------------------------------------------------------


class AllHold(Document):
    """True when every condition is; an empty list is true."""

    all: list[Condition]


class AnyHolds(Document):
    """True when at least one condition is; an empty list is false."""

    any: list[Condition]


class NotHolds(Document):
    """True when the condition is false."""

    not_: Condition = Field(alias="not")


class TraitIs(Compared):
    """The customer's trait at a path compares so."""

    trait: str


class TimeBounded(Document):
    """Mixin: which events count, by their timestamp."""

    within: DurationText | None = None
    since: str | None = None
    until: str | None = None
    since_entry: bool = False


class Did(TimeBounded):
    """Counts the customer's events of one name; `at_least` 1 unless something else is said."""

    did: str
    where: list[Predicate] = Field(default_factory=list)
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
    def _counts_one_way(self) -> Did:
        if self.exactly is not None and (self.at_least is not None or self.at_most is not None):
            raise ValueError("exactly stands alone; write at_least and at_most for a range")
        return self


class AggregateIs(Compared, TimeBounded):
    """A figure over the customer's events compares so; `of` is a path into the event (`properties.total`)."""

    aggregate: Literal["sum", "avg", "min", "max", "count", "count_distinct"]
    over: str
    of: str | None = None
    where: list[Predicate] = Field(default_factory=list)


class MessageWas(Document):
    """At least one message of ours came so far; opens and clicks are those of people, not of machines."""

    message: Literal["sent", "delivered", "opened", "clicked", "bounced", "complained"]
    template: str | None = None
    journey: str | None = None
    campaign: str | None = None
    channel: str | None = None
    within: DurationText | None = None


class ConsentIs(Document):
    """The consent state for a purpose, on one channel."""

    consent: str
    channel: str = "email"
    eq: Literal["subscribed", "unsubscribed", "none"] = "subscribed"


class EventIs(Compared):
    """The payload of the event at hand (a journey's entry event). Its path starts there: `properties.cart_id`."""

    event: str


class VariantIs(Document):
    """The arm that this run got at a split step."""

    variant: str
    eq: str


class InBucket(Document):
    """Stable hash of the customer and the salt, in percent: `[0, 20]` means 0 <= hash < 20."""

    bucket: tuple[float, float]
    salt: str = ""

    @model_validator(mode="after")
    def _is_a_range(self) -> InBucket:
        low, high = self.bucket
        if not 0 <= low < high <= 100:
            raise ValueError("a bucket is a range [from, to) within 0 and 100")
        return self


class SegmentIs(Document):
    """Membership of a segment."""

    segment: str


class PointsAre(Compared):
    """A figure of the points ledger compares so."""

    points: Literal["available", "pending", "earned", "spent", "expiring"]
    within: DurationText | None = None


class TierAtLeast(Document):
    """This tier or a higher one."""

    at_least: str


class TierIs(Document):
    """The current tier."""

    tier: str | TierAtLeast


class ScoreIs(Compared):
    """The latest prediction compares so."""

    score: Literal["churn", "lifetime_value", "engagement"]


FORMS = (
    "all", "any", "not", "trait", "did", "aggregate", "message", "consent",
    "event", "variant", "bucket", "segment", "points", "tier", "score",
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
    | Annotated[VariantIs, Tag("variant")]
    | Annotated[InBucket, Tag("bucket")]
    | Annotated[SegmentIs, Tag("segment")]
    | Annotated[PointsAre, Tag("points")]
    | Annotated[TierIs, Tag("tier")]
    | Annotated[ScoreIs, Tag("score")],
    _form(*FORMS),
]

for _model in (AllOf, AnyOf, NotOf, AllHold, AnyHolds, NotHolds, Did, AggregateIs):
    _model.model_rebuild()
