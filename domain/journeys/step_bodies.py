"""The bodies of steps that hold no further steps. What they are steps of, and those that nest, is in steps.py."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from domain.conditions.operators import PathText
from domain.document import Document, WholeNumber
from domain.durations import DurationText, PeriodText

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
LocalTime = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", examples=["09:00"])]


class UntilDate(Document):
    """A date held in a trait or in the entry event (`event`, a path into it), moved by `offset`, at a local time."""

    trait: str | None = None
    event: PathText | None = None
    offset: DurationText | None = None
    at: LocalTime | None = None

    @model_validator(mode="after")
    def _has_one_source(self) -> UntilDate:
        if (self.trait is None) == (self.event is None):
            raise ValueError("say where the date is: trait, or event with a path such as properties.delivered_at")
        return self


class EventLength(Document):
    """A length of time that the entry event says: the number at `event`, a path into it, in `unit`."""

    event: PathText
    unit: Literal["s", "m", "h", "d", "w", "mo", "y"]


Length = Annotated[
    Annotated[PeriodText, Tag("duration")] | Annotated[EventLength, Tag("event")],
    Discriminator(lambda written: "event" if isinstance(written, dict | EventLength) else "duration"),
]
"""How long a wait is: written out, or looked up."""


MOST_POINTS = 1_000_000_000
"""No single step moves more: beyond it an amount is a mistake."""

PointsCount = Annotated[WholeNumber, Field(ge=1, le=MOST_POINTS)]


class Points(Document):
    """`award` gives points, `deduct` takes them, `multiply` raises what rules pay `for` a time (all, or one `rule`).

    A deduction beyond what is available is skipped, with the reason. `expires`: how long awarded points can be used.
    """

    award: PointsCount | None = None
    deduct: PointsCount | None = None
    multiply: float | None = Field(default=None, gt=0, le=1_000)
    for_: PeriodText | None = Field(default=None, alias="for")
    rule: str | None = Field(default=None, max_length=63)
    expires: PeriodText | None = None
    reason: str | None = Field(default=None, max_length=500)

    @model_validator(mode="after")
    def _does_one_thing(self) -> Points:
        if sum(each is not None for each in (self.award, self.deduct, self.multiply)) != 1:
            raise ValueError("say one of award, deduct and multiply")
        if (self.multiply is None) != (self.for_ is None) or (self.rule is not None and self.multiply is None):
            raise ValueError("multiply needs for: how long; for and rule belong to multiply only")
        if self.expires is not None and self.award is None:
            raise ValueError("expires belongs to award: what is taken cannot expire")
        return self


class UntrustedLimit(Document):
    """How many one customer may get in untrusted runs, `per` a length of time (absent: in all)."""

    per_customer: Annotated[WholeNumber, Field(ge=1, le=MOST_POINTS)]
    per: PeriodText | None = None


class Reward(Document):
    """A reward of the catalogue for nothing; what was given is kept under `save_as`: `{{ saved.reward.code }}`.

    `expires` replaces what the reward says about how long it can be used. A run that a browser led here gives nothing;
    with `untrusted` it gives that many of it to customers whom a trusted source has reported.
    """

    give: str = Field(min_length=1, max_length=63)
    expires: PeriodText | None = None
    untrusted: UntrustedLimit | None = None
    save_as: str = Field(default="reward", pattern=r"^[a-z][a-z0-9_]{0,62}$")


class Update(Document):
    """Sets traits on the profile; text values may use templates."""

    traits: dict[str, Any] = Field(min_length=1)  # any JSON is a trait value


class Emit(Document):
    """Posts an event of our own for this customer."""

    event: str = Field(min_length=1, max_length=200)
    properties: dict[str, Any] = Field(default_factory=dict)  # any JSON


class Start(Document):
    """Another journey for this customer, as its API entry would."""

    journey: str
    properties: dict[str, Any] = Field(default_factory=dict)  # any JSON


class Goto(Document):
    """Back to a step; past `visits` the flow goes on with the step after this one."""

    step: str
    visits: int = Field(default=10, ge=1, le=10_000)


class Exit(Document):
    """Ends the run with a reason."""

    reason: str = Field(default="exit", max_length=200)
