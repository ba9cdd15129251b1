"""The steps of a journey as written: one key names the kind, its value is the body; `id` and `name` stand in either.

Bodies that hold no further steps are in step_bodies.py.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, GetJsonSchemaHandler, Tag, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from domain.conditions.model import Condition
from domain.document import Document, by_key
from domain.durations import PeriodText
from domain.journeys.matches import ConditionMatch, EventMatch, MessageMatch, SegmentMatch, TraitMatch
from domain.journeys.step_bodies import (
    Emit,
    EventLength,
    Exit,
    Goto,
    Length,
    LocalTime,
    Points,
    Reward,
    Start,
    UntilDate,
    Update,
    Weekday,
)

STEP_ID = r"^[a-z0-9][a-z0-9_./-]{0,99}$"
Channel = Literal["email", "push", "sms", "webhook"]


class StepBase(Document):
    """What every step may carry. After publishing `id` is always set (written, or derived and kept stable)."""

    id: str | None = Field(default=None, pattern=STEP_ID)
    name: str | None = Field(default=None, max_length=200)

    @model_validator(mode="before")
    @classmethod
    def _lift_id_and_name(cls, raw: Any) -> Any:  # raw document, any JSON
        if not isinstance(raw, dict):
            return raw
        if len(kinds := [kind for kind in raw if kind in STEP_KINDS]) > 1:
            raise ValueError(f"a step does one thing; write {' and '.join(kinds)} as steps of their own")
        lifted = dict(raw)
        for kind, body in raw.items():
            if kind not in ("id", "name") and isinstance(body, dict):
                lifted[kind] = {key: value for key, value in body.items() if key not in ("id", "name")}
                lifted |= {key: body[key] for key in ("id", "name") if key in body}
        return lifted

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Both places where `id` and `name` may stand."""
        shown = handler(schema)
        members = handler.resolve_ref_schema(shown)["properties"]
        lifted = {name: members[name] for name in ("id", "name")}
        for body in (handler.resolve_ref_schema(part) for name, part in members.items() if name not in lifted):
            if "properties" in body:
                body["properties"] = {**body["properties"], **lifted}
        return shown

    @property
    def kind(self) -> str:
        """The key that names the step: `send`, `wait_for`, ..."""
        return next(name.rstrip("_") for name in type(self).model_fields if name not in ("id", "name"))


class Send(Document):
    """One message through the send gate. `category` replaces the journey's purpose; `not_after` is its freshness."""

    template: str
    channel: Channel = "email"
    category: str | None = None
    not_after: PeriodText | None = None
    on_skip: Literal["continue", "exit"] | list[Step] = "continue"
    on_failure: Literal["continue", "exit"] | list[Step] = "continue"


class Wait(Document):
    """`for` and `until`: the first such local time at or after the duration. `zone`: customer, shop or an IANA name.

    `on_missing` says what follows when a date, or a duration from an event, is missing or cannot be read: by default
    the run ends.
    """

    for_: Length | None = Field(default=None, alias="for")
    until: LocalTime | None = None
    days: list[Weekday] | None = Field(default=None, min_length=1)
    zone: str = "customer"
    until_date: UntilDate | None = None
    on_missing: Literal["exit", "skip"] | list[Step] = "exit"

    @model_validator(mode="before")
    @classmethod
    def _lift_on_missing(cls, raw: Any) -> Any:  # raw document, any JSON
        """It may stand with the date or duration that it is about."""
        if not isinstance(raw, dict) or "on_missing" in raw:
            return raw
        for name in ("until_date", "for"):
            if isinstance(body := raw.get(name), dict) and "on_missing" in body:
                bare = {key: value for key, value in body.items() if key != "on_missing"}
                return {**raw, name: bare, "on_missing": body["on_missing"]}
        return raw

    @property
    def from_data(self) -> UntilDate | EventLength | None:
        """The date or duration that is looked up, and so may be missing."""
        return self.until_date or (self.for_ if isinstance(self.for_, EventLength) else None)

    @property
    def trait(self) -> str | None:
        """The trait that holds the date."""
        return None if self.until_date is None else self.until_date.trait

    @model_validator(mode="after")
    def _waits_for_something(self) -> Wait:
        if self.until_date is not None and (self.for_ or self.until or self.days):
            raise ValueError("until_date stands alone; it has its own offset and at")
        if self.for_ is None and self.until is None and self.until_date is None:
            raise ValueError("say how long: for, until or until_date")
        if self.days and not self.until:
            raise ValueError("days needs until: the local time on those days")
        if self.from_data is None and "on_missing" in self.model_fields_set:
            raise ValueError(
                "on_missing is about the date of until_date or a duration from an event: both can be missing"
            )
        return self


class EventAlternative(EventMatch):
    """Go on when this event comes, first through `steps`."""

    steps: list[Step] = Field(default_factory=list)


class MessageAlternative(MessageMatch):
    """Go on when this happens to a message of the run, first through `steps`."""

    steps: list[Step] = Field(default_factory=list)


class TraitAlternative(TraitMatch):
    """Go on when this trait changes, first through `steps`."""

    steps: list[Step] = Field(default_factory=list)


class SegmentAlternative(SegmentMatch):
    """Go on when this segment is entered or left, first through `steps`."""

    steps: list[Step] = Field(default_factory=list)


class ConditionAlternative(ConditionMatch):
    """Go on when this condition holds, at once where it does already, first through `steps`."""

    steps: list[Step] = Field(default_factory=list)


Alternative = Annotated[
    Annotated[EventAlternative, Tag("event")]
    | Annotated[MessageAlternative, Tag("message")]
    | Annotated[TraitAlternative, Tag("trait")]
    | Annotated[SegmentAlternative, Tag("segment")]
    | Annotated[ConditionAlternative, Tag("if")],
    by_key("event", "message", "trait", "segment", "if"),
]


class WaitFor(Document):
    """Waits for the first of `any`, or for `timeout`; a match of `restart_on` starts the timeout again."""

    any: list[Alternative] = Field(default_factory=list)
    timeout: PeriodText | None = None
    restart_on: list[EventMatch] = Field(default_factory=list)
    on_timeout: list[Step] = Field(default_factory=list)

    @model_validator(mode="after")
    def _can_end(self) -> WaitFor:
        if not self.any and self.timeout is None:
            raise ValueError("a wait_for needs any, timeout or both; otherwise it would never end")
        return self


class IfArm(Document):
    """Taken when its condition is the first that holds."""

    if_: Condition = Field(alias="if")
    steps: list[Step] = Field(default_factory=list)


class ElseArm(Document):
    """Taken when no condition holds."""

    else_: list[Step] = Field(alias="else")

    @property
    def steps(self) -> list[Step]:
        """The steps of this arm."""
        return self.else_


Arm = Annotated[Annotated[IfArm, Tag("if")] | Annotated[ElseArm, Tag("else")], by_key("if", "else")]


class Variant(Document):
    """One arm of an experiment; weights are relative."""

    variant: str = Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_-]{0,62}$")
    weight: float = 1
    steps: list[Step] = Field(default_factory=list)


class Split(Document):
    """A stable random split: `variants` as a list, or as a mapping from name to `{weight, steps}`."""

    variants: list[Variant] = Field(min_length=1)

    @field_validator("variants", mode="before")
    @classmethod
    def _read_mapping(cls, raw: Any) -> Any:  # raw document, any JSON
        if isinstance(raw, dict) and all(isinstance(body, dict) for body in raw.values()):
            return [{"variant": name, **body} for name, body in raw.items()]
        return raw


class Call(Document):
    """A signed outbound webhook (Standard Webhooks); the JSON answer is kept under `save_as`."""

    url: str
    body: dict[str, Any] | None = None  # any JSON
    headers: dict[str, str] = Field(default_factory=dict)
    save_as: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9_]{0,62}$")
    not_after: PeriodText | None = None
    on_failure: Literal["continue", "exit"] | list[Step] = "continue"


class SendStep(StepBase):
    """`send`."""

    send: Send


class WaitStep(StepBase):
    """`wait`."""

    wait: Wait


class WaitForStep(StepBase):
    """`wait_for`."""

    wait_for: WaitFor


class BranchStep(StepBase):
    """`branch`: the first arm that holds; afterwards the flow rejoins."""

    branch: list[Arm] = Field(min_length=1)


class SplitStep(StepBase):
    """`split`."""

    split: Split


class UpdateStep(StepBase):
    """`update`."""

    update: Update


class EmitStep(StepBase):
    """`emit`."""

    emit: Emit


class CallStep(StepBase):
    """`call`."""

    call: Call


class PointsStep(StepBase):
    """`points`."""

    points: Points


class RewardStep(StepBase):
    """`reward`."""

    reward: Reward


class StartStep(StepBase):
    """`start`; `start: journey` is short for `start: {journey: journey}`."""

    start: Start

    @field_validator("start", mode="before")
    @classmethod
    def _read_short_form(cls, raw: Any) -> Any:  # raw document, any JSON
        return {"journey": raw} if isinstance(raw, str) else raw


class GotoStep(StepBase):
    """`goto`; `goto: step-id` is short for `goto: {step: step-id}`."""

    goto: Goto

    @field_validator("goto", mode="before")
    @classmethod
    def _read_short_form(cls, raw: Any) -> Any:  # raw document, any JSON
        return {"step": raw} if isinstance(raw, str) else raw


class ExitStep(StepBase):
    """`exit`; `exit: reason` and a bare `exit:` are short forms."""

    exit: Exit

    @field_validator("exit", mode="before")
    @classmethod
    def _read_short_form(cls, raw: Any) -> Any:  # raw document, any JSON
        return {} if raw is None else {"reason": raw} if isinstance(raw, str) else raw


class LaterStep(StepBase):
    """A step kind of a later release (`crm`, `recommend`): readable, refused by the checks."""

    crm: Any = None
    recommend: Any = None

    @property
    def kind(self) -> str:
        """The kind that was written."""
        return next(name for name in LATER_KINDS if name in self.model_fields_set)


LATER_KINDS = ("crm", "recommend")
STEP_KINDS = (
    *("send", "wait", "wait_for", "branch", "split", "points", "reward"),
    *("update", "emit", "call", "start", "goto", "exit"),
)

Step = Annotated[
    Annotated[SendStep, Tag("send")]
    | Annotated[WaitStep, Tag("wait")]
    | Annotated[WaitForStep, Tag("wait_for")]
    | Annotated[BranchStep, Tag("branch")]
    | Annotated[SplitStep, Tag("split")]
    | Annotated[UpdateStep, Tag("update")]
    | Annotated[EmitStep, Tag("emit")]
    | Annotated[CallStep, Tag("call")]
    | Annotated[PointsStep, Tag("points")]
    | Annotated[RewardStep, Tag("reward")]
    | Annotated[StartStep, Tag("start")]
    | Annotated[GotoStep, Tag("goto")]
    | Annotated[ExitStep, Tag("exit")]
    | Annotated[LaterStep, Tag("crm")]
    | Annotated[LaterStep, Tag("recommend")],
    by_key(*STEP_KINDS, *LATER_KINDS),
]
