"""One value compared with an operand: the operators, their operands, and references to what is known when judged."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import AfterValidator, Discriminator, Field, StringConstraints, Tag, model_validator
from pydantic_core import PydanticCustomError

from domain.conditions.dates import moment_of
from domain.conditions.paths import PATTERN, steps_of
from domain.document import FROM_ARRAY, Document
from domain.durations import PeriodText
from domain.payload import TEXT_FAULTS, text_fault

_LONGEST_LIST = 10_000
_GREATEST_INTEGER = 2**63 - 1


def _storable(text: str) -> str:
    if code := text_fault(text):
        raise PydanticCustomError(code, "{fault}", {"fault": TEXT_FAULTS[code]})
    return text


def _fits_64_bits(number: int) -> int:
    if abs(number) > _GREATEST_INTEGER:
        raise PydanticCustomError("number_too_large", "numbers must fit 64 bits")
    return number


def _moment(text: str) -> str:
    if moment_of(text) is None:
        raise PydanticCustomError("moment", "write a day, 2026-05-01, or an instant, 2026-05-01T09:00:00Z")
    return text


Text = Annotated[str, StringConstraints(max_length=2_000), AfterValidator(_storable)]
NameText = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_storable)]
PathText = Annotated[
    str,
    StringConstraints(pattern=PATTERN, max_length=300),
    AfterValidator(_storable),
    Field(examples=["total", "address.country", "items[].sku"]),
]
"""Keys joined by dots; `[]` after a key goes into every element of an array, `[0]` into the first, and so on."""

MomentText = Annotated[str, AfterValidator(_moment), Field(examples=["2026-05-01", "2026-05-01T09:00:00Z"])]
"""A day, which counts as a whole in the customer's zone, or an instant."""

Integer = Annotated[int, AfterValidator(_fits_64_bits)]


class Reference(Document):
    """A value looked up when the condition is judged: from the run's entry event, the customer or what a step saved."""

    entry: PathText | None = None
    customer: PathText | None = None
    saved: PathText | None = None

    @property
    def is_of_item(self) -> bool:
        """Whether it is a value of the item of a `for_each`, whose ids shops write as numbers and as texts."""
        return self.entry is not None and steps_of(self.entry)[0] == "item"

    @model_validator(mode="after")
    def _names_one_source(self) -> Self:
        if len(self.model_fields_set) != 1 or None in (getattr(self, name) for name in self.model_fields_set):
            raise ValueError("a reference names exactly one of entry, customer, saved")
        return self


def _kind_of_value(value: Any) -> str | None:  # raw document, any JSON, or a model
    match value:
        case dict() | Reference():
            return "reference"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "text"
        case None:
            return "null"
        case _:
            return None


Value = Annotated[
    Annotated[Reference, Tag("reference")]
    | Annotated[Text, Tag("text")]
    | Annotated[bool, Tag("boolean")]
    | Annotated[Integer, Tag("integer")]
    | Annotated[float, Tag("number")]
    | Annotated[None, Tag("null")],
    Discriminator(
        _kind_of_value,
        custom_error_type="value_type",
        custom_error_message='a value is a text, a number, true, false or a reference like {"entry": "properties.id"}',
    ),
]
Values = Annotated[list[Value], Field(max_length=_LONGEST_LIST)]


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


NUMBER_OPERATORS = (Operator.GT, Operator.GTE, Operator.LT, Operator.LTE, Operator.BETWEEN)
FIGURE_OPERATORS = (Operator.EQ, Operator.NE, Operator.IN, Operator.NOT_IN, *NUMBER_OPERATORS, Operator.EXISTS)
"""What an aggregate, a number, can be compared by."""


MOMENT_OPERATORS = (Operator.BEFORE, Operator.AFTER, Operator.SAME_DAY)
PERIOD_OPERATORS = (Operator.WITHIN_LAST, Operator.WITHIN_NEXT, Operator.ANNIVERSARY_WITHIN)


class Comparison(NamedTuple):
    """One operator with its operand, as the evaluators read it."""

    operator: Operator
    operand: Any  # a Value, a list of them, a duration text or a bool, as the operator's field says
    ignore_case: bool


class Compared(Document):
    """Mixin of all forms that compare a value: exactly one operator."""

    eq: Value = None
    ne: Value = None
    in_: Values | None = Field(default=None, alias="in")
    not_in: Values | None = None
    gt: Value = None
    gte: Value = None
    lt: Value = None
    lte: Value = None
    between: Annotated[tuple[Value, Value], FROM_ARRAY] | None = None
    contains: Value = None
    not_contains: Value = None
    starts_with: Value = None
    ends_with: Value = None
    matches_any: Annotated[list[Text], Field(max_length=1_000)] | None = None
    exists: bool | None = None
    before: Value = None
    after: Value = None
    within_last: PeriodText | None = None
    within_next: PeriodText | None = None
    same_day: Value = None
    anniversary_within: PeriodText | None = None
    case: Literal["exact", "ignore"] = "exact"

    @property
    def comparison(self) -> Comparison:
        """The operator that was written, with its operand."""
        name = next(name for name in _OPERATOR_FIELDS if name in self.model_fields_set)
        return Comparison(Operator(name.rstrip("_")), getattr(self, name), self.case == "ignore")

    @model_validator(mode="after")
    def _has_one_operator(self) -> Self:
        written = [name.rstrip("_") for name in _OPERATOR_FIELDS if name in self.model_fields_set]
        if len(written) != 1:
            found = ", ".join(written) or "none"
            raise ValueError(f"exactly one operator is needed ({', '.join(Operator)}); found {found}")
        return self


_OPERATOR_FIELDS = tuple(name for name in Compared.model_fields if name != "case")
