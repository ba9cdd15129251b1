"""The contest document: who enters by what, when it closes, how many win what, where the randomness comes from."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from domain.challenges.definition import KeyText, Moment, Prize
from domain.conditions.dates import moment_of
from domain.conditions.model import LARGEST, Predicate
from domain.conditions.operators import NameText, Text
from domain.document import Document, WholeNumber
from domain.durations import PeriodText
from domain.local_time import ZONES, local_instant, resolve_zone

MOST_PLACES = 200

Places = Annotated[WholeNumber, Field(ge=1, le=MOST_PLACES)]


class EntryEvent(Document):
    """An event by its exact name; every predicate of `where` must hold."""

    event: NameText
    where: list[Predicate] = Field(default_factory=list, max_length=LARGEST)


class EntryRule(Document):
    """A way in: an event, or without `on` a call of the shop. It gives `entries` chances, `limit` times a member
    (absent: as often as one likes), or `limit` times each `per`.
    """

    rule: KeyText
    on: EntryEvent | None = None
    entries: Annotated[WholeNumber, Field(ge=1, le=10_000)] = 1
    limit: Annotated[WholeNumber, Field(ge=1, le=100_000)] | None = 1
    per: Literal["day", "week", "month"] | None = None


class PlacePrize(Prize):
    """For places up to `to_place` that no earlier prize took."""

    to_place: Places


class ContestDefinition(Document):
    """One contest. `closes` includes its day; without it the draw closes it.

    `beacon` names a public randomness of the future ("drand quicknet round 9000000"); its value is given at the draw.
    `verify`: how long winners can be disqualified before prizes are given.
    """

    contest: KeyText
    name: Text = ""
    description: Text = ""
    zone: str | None = Field(default=None, json_schema_extra={"examples": ["Europe/Berlin"]})
    opens: Moment | None = None
    closes: Moment | None = None
    entries: Annotated[list[EntryRule], Field(min_length=1, max_length=50)]
    winners: Places = 1
    alternates: Annotated[WholeNumber, Field(ge=0, le=MOST_PLACES)] = 0
    prizes: list[PlacePrize] = Field(default_factory=list, max_length=50)
    exclude_winners_of: list[KeyText] = Field(default_factory=list, max_length=50)
    refunds: Literal["keep", "remove"] = "remove"
    beacon: Text | None = None
    verify: PeriodText | None = None

    def rule_named(self, name: str) -> EntryRule | None:
        """The rule of that name."""
        return next((rule for rule in self.entries if rule.rule == name), None)

    def prize_for(self, place: int) -> Prize | None:
        """What the winner of a place gets."""
        return next((prize for prize in self.prizes if place <= prize.to_place), None)

    def zone_in(self, shop_zone: str) -> ZoneInfo:
        """Whose calendar counts."""
        return resolve_zone(self.zone, shop_zone)

    def opens_at(self, zone: ZoneInfo) -> datetime | None:
        """The first instant at which one can enter."""
        return _instant(self.opens, zone, days=0)

    def closes_at(self, zone: ZoneInfo) -> datetime | None:
        """The first instant at which one cannot any more: a day counts as a whole."""
        return _instant(self.closes, zone, days=1)

    def is_open(self, moment: datetime, zone: ZoneInfo) -> bool:
        """Whether one can enter at a moment."""
        opens, closes = self.opens_at(zone), self.closes_at(zone)
        return (opens is None or opens <= moment) and (closes is None or moment < closes)

    @model_validator(mode="after")
    def _is_of_one_mind(self) -> Self:
        if self.zone is not None and self.zone not in ZONES:
            raise ValueError(f"{self.zone!r} is not the name of an IANA time zone, such as Europe/Berlin")
        names = [rule.rule for rule in self.entries]
        if len(set(names)) < len(names):
            raise ValueError("each rule has a name of its own")
        places = [prize.to_place for prize in self.prizes]
        if places != sorted(set(places)):
            raise ValueError("prizes stand in the order of their places, each place once")
        opens, closes = self.opens_at(ZoneInfo("UTC")), self.closes_at(ZoneInfo("UTC"))
        if opens and closes and closes <= opens:
            raise ValueError("it closes before it opens")
        if any(rule.per and rule.limit is None for rule in self.entries):
            raise ValueError("per says how often within a day, week or month, so it needs a limit")
        return self


def _instant(written: str | None, zone: ZoneInfo, days: int) -> datetime | None:
    moment = moment_of(written)
    if isinstance(moment, date) and not isinstance(moment, datetime):
        return local_instant(moment + timedelta(days=days), time(0), zone)
    return moment
