"""The journey document: who enters, when it counts as reached, what ends it, and its steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, Tag, model_validator

from domain.conditions.model import Condition, Predicate, PropertyIs
from domain.conditions.operators import PathText
from domain.consent import MARKETING
from domain.document import Document, WholeNumber, by_key
from domain.durations import DurationText, PeriodText
from domain.journeys.matches import EventMatch, Match, SegmentMatch, read_change
from domain.journeys.step_bodies import MOST_POINTS, LocalTime
from domain.journeys.steps import (
    BranchStep,
    CallStep,
    Send,
    SendStep,
    SplitStep,
    Step,
    WaitForStep,
    WaitStep,
)
from domain.thresholds import EVENT_OF, PointsFigure, Threshold
from domain.tier_events import TIER_LEFT, TIER_REACHED

KEY = r"^[a-z][a-z0-9-]{1,62}$"

PointsLevel = Annotated[WholeNumber, Field(ge=0, le=MOST_POINTS)]


class DateRule(Document):
    """A date held in a trait; `yearly` repeats it on each anniversary (29 February: on the 28th in other years)."""

    trait: str
    offset: DurationText | None = None
    at: LocalTime = "09:00"
    yearly: bool = False


class DateEntry(Document):
    """Enters on a date of the customer's own, in the customer's zone."""

    date: DateRule


class ScheduleEntry(Document):
    """Enters all of the audience at the times of a cron expression (five fields), in `zone` (default: the shop's)."""

    schedule: str
    audience: Condition
    zone: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_nested(cls, raw: Any) -> Any:  # raw document, any JSON
        if not (isinstance(raw, dict) and isinstance(raw.get("schedule"), dict)):
            return raw
        outer = {key: value for key, value in raw.items() if key != "schedule"}
        return outer | {"schedule" if key == "cron" else key: value for key, value in raw["schedule"].items()}


class ApiEntry(Document):
    """Enters the customer that a call to `/v1/journeys/<key>/enter` names."""

    api: bool | dict[str, Any]  # `{}` or true: there is nothing to set


class TierEntry(Document):
    """Enters when the customer rises to a tier (`reached`) or falls out of it (`left`); `any` is every tier."""

    tier: str = Field(min_length=1, max_length=63)
    change: Literal["reached", "left"] = "reached"

    @model_validator(mode="before")
    @classmethod
    def _read_reached_or_left(cls, raw: Any) -> Any:  # raw document, any JSON
        return read_change(raw, "tier", ("reached", "left"))

    @property
    def match(self) -> EventMatch:
        """The event of ours that it stands for."""
        where: list[Predicate] = (
            [] if self.tier == "any" else [PropertyIs.model_validate({"property": "tier", "eq": self.tier})]
        )
        return EventMatch(event=TIER_REACHED if self.change == "reached" else TIER_LEFT, where=where)


class PointsEntry(Document):
    """Enters when a figure of the customer's points `reaches` a threshold, or `falls_below` it, once per crossing."""

    points: PointsFigure
    reaches: PointsLevel | None = None
    falls_below: PointsLevel | None = None

    @model_validator(mode="after")
    def _has_one_threshold(self) -> PointsEntry:
        if (self.reaches is None) == (self.falls_below is None):
            raise ValueError("say one of reaches and falls_below: the points at which it enters")
        if self.points == "earned" and self.falls_below is not None:
            raise ValueError("what was earned in all never falls; write reaches, or another figure")
        return self

    @property
    def threshold(self) -> Threshold:
        """What moves of points are compared with."""
        if self.falls_below is not None:
            return Threshold(self.points, "falls_below", self.falls_below)
        return Threshold(self.points, "reaches", self.reaches or 0)

    @property
    def match(self) -> EventMatch:
        """The event of ours that it stands for."""
        figure, change, points = self.threshold
        where = {"figure": figure, "threshold": points}.items()
        predicates: list[Predicate] = [
            PropertyIs.model_validate({"property": name, "eq": value}) for name, value in where
        ]
        return EventMatch(event=EVENT_OF[change], where=predicates)


class LaterEntry(Document):
    """An entry of a later release (`score`): readable, refused by the checks."""

    model_config = Document.model_config | {"extra": "allow"}

    score: Any = None


class AnyEntry(Document):
    """Enters by any of several."""

    any: list[Entry] = Field(min_length=1)


Entry = Annotated[
    Annotated[EventMatch, Tag("event")]
    | Annotated[SegmentMatch, Tag("segment")]
    | Annotated[DateEntry, Tag("date")]
    | Annotated[ScheduleEntry, Tag("schedule")]
    | Annotated[ApiEntry, Tag("api")]
    | Annotated[AnyEntry, Tag("any")]
    | Annotated[TierEntry, Tag("tier")]
    | Annotated[PointsEntry, Tag("points")]
    | Annotated[LaterEntry, Tag("score")],
    by_key("event", "segment", "date", "schedule", "api", "any", "tier", "points", "score"),
]


class Again(Document):
    """Limits further occasions of one customer; `per` is the window of `at_most`."""

    after: PeriodText | None = None
    at_most: int | None = Field(default=None, ge=1)
    per: PeriodText | None = None
    while_active: bool = False

    @model_validator(mode="after")
    def _at_most_has_a_window(self) -> Again:
        if self.per is not None and self.at_most is None:
            raise ValueError("per is the window of at_most; write at_most too")
        return self


class Enter(Document):
    """Who enters. `occasion` is a path into the entering event: one run for each customer and value, ever.

    `for_each` is a path to a list in the event: it enters once for each item, which is `item` in the entry.
    """

    on: Entry
    if_: Condition | None = Field(default=None, alias="if")
    for_each: PathText | None = None
    occasion: str | None = None
    again: Again | None = None
    holdout: float = 0  # percent; the checks say when it is not one

    @model_validator(mode="before")
    @classmethod
    def _read_short_api(cls, raw: Any) -> Any:  # raw document, any JSON
        return {**raw, "on": {"api": True}} if isinstance(raw, dict) and raw.get("on") == "api" else raw

    @property
    def entries(self) -> list[Entry]:
        """The entries one by one, `any` opened up."""
        return list(_opened(self.on))

    @property
    def thresholds(self) -> frozenset[Threshold]:
        """The thresholds of points on which it enters."""
        return frozenset(entry.threshold for entry in self.entries if isinstance(entry, PointsEntry))


def as_event(entry: Entry) -> EventMatch | None:
    """The event on which an entry enters; None for those that go by dates, schedules or calls."""
    match entry:
        case EventMatch():
            return entry
        case TierEntry() | PointsEntry():
            return entry.match
        case _:
            return None


def _opened(entry: Entry) -> Iterator[Entry]:
    if isinstance(entry, AnyEntry):
        for inner in entry.any:
            yield from _opened(inner)
    else:
        yield entry


class Goal(EventMatch):
    """Counts one conversion of a run if its event comes `within` a time after entry; `value` is a path to its worth."""

    within: PeriodText | None = None
    value: str | None = None


DEFAULT_PURPOSE = MARKETING
"""The careful choice where neither the step nor the journey names a purpose: it needs consent."""


class JourneyDefinition(Document):
    """One version of a journey, as a marketer writes it."""

    journey: str = Field(pattern=KEY)
    name: str | None = Field(default=None, max_length=200)
    description: str | None = Field(default=None, max_length=2_000)
    purpose: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9_-]{0,62}$")
    enter: Enter
    goal: Goal | None = None
    exit: list[Match] = Field(default_factory=list)
    max_days: int = Field(default=365, ge=1, le=3_650)
    steps: list[Step] = Field(min_length=1)

    def walk(self) -> Iterator[Step]:
        """All steps, in the order they are written, nested ones after their parent."""
        yield from walk(self.steps)

    def step(self, step_id: str) -> Step | None:
        """The step of that id."""
        return next((step for step in self.walk() if step.id == step_id), None)

    def purpose_of(self, send: Send) -> str:
        """What consent a message of this journey needs: the step's word before the journey's."""
        return send.category or self.purpose or DEFAULT_PURPOSE


def walk(steps: list[Step]) -> Iterator[Step]:
    """Steps and all steps nested in them, parents first."""
    for step in steps:
        yield step
        for nested in blocks(step):
            yield from walk(nested)


def blocks(step: Step) -> list[list[Step]]:
    """The lists of steps nested directly in a step, in the order they are written."""
    match step:
        case SendStep(send=body):
            return [block for block in (body.on_skip, body.on_failure) if isinstance(block, list)]
        case CallStep(call=body):
            return [body.on_failure] if isinstance(body.on_failure, list) else []
        case WaitStep(wait=body):
            return [body.on_missing] if isinstance(body.on_missing, list) else []
        case WaitForStep(wait_for=body):
            return [*(alternative.steps for alternative in body.any), body.on_timeout]
        case BranchStep(branch=arms):
            return [arm.steps for arm in arms]
        case SplitStep(split=body):
            return [variant.steps for variant in body.variants]
        case _:
            return []
