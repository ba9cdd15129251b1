"""The journeys as they stand now, compiled for the router: who starts on which event, what their runs watch for.

The cache is compared with `document_changes` in every batch, under a share lock: a publish or a pause waits for the
batches that began before it, and every later batch sees it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from sqlalchemy import select, tuple_

from database.documents import DocumentChange, DocumentVersion, live_documents
from database.session import ReadSession, WriteSession
from domain.conditions.paths import steps_of
from domain.documents import DocumentState
from domain.durations import Duration, parse_duration
from domain.journeys.definition import DateEntry, JourneyDefinition, as_event
from domain.journeys.exits import exit_reason
from domain.journeys.steps import WaitForStep, WaitStep
from domain.journeys.waiting import CompiledWait, Matcher, compile_entry, compile_match, compile_wait

KIND = "journey"


@dataclass(frozen=True, slots=True)
class ExitRule:
    """A rule that ends a run, with the reason that the run then shows."""

    matches: Matcher
    reason: str


@dataclass(frozen=True)
class JourneyVersion:
    """One version as its runs need it."""

    key: str
    version: int
    definition: JourneyDefinition

    @cached_property
    def exits(self) -> tuple[ExitRule, ...]:
        """The exit rules, in the order they are written."""
        return tuple(ExitRule(compile_match(match), exit_reason(match)) for match in self.definition.exit)

    @cached_property
    def goal(self) -> Matcher | None:
        """What counts as the goal, apart from its time."""
        return None if self.definition.goal is None else compile_match(self.definition.goal)

    @cached_property
    def goal_within(self) -> Duration:
        """How long after entry the goal counts; where nothing is said, as long as a run may last."""
        goal = self.definition.goal
        return parse_duration(goal.within if goal and goal.within else f"{self.definition.max_days}d")

    @cached_property
    def waits(self) -> Mapping[str, CompiledWait]:
        """The `wait_for` steps by id."""
        steps = (step for step in self.definition.walk() if isinstance(step, WaitForStep))
        return {step.id: compile_wait(step.wait_for) for step in steps if step.id is not None}

    @cached_property
    def dated_waits(self) -> Mapping[str, str]:
        """The `wait` steps that end on a date held in a trait: step id -> name of the trait, without a path into it."""
        steps = (step for step in self.definition.walk() if isinstance(step, WaitStep))
        return {
            step.id: str(steps_of(step.wait.until_date.trait)[0])
            for step in steps
            if step.id is not None and step.wait.until_date is not None
        }


@dataclass(frozen=True, slots=True)
class EntryMatch:
    """An event entry of a live journey. `varies`: its predicates refer to the customer, whose traits may change."""

    journey: LiveJourney
    matches: Matcher
    varies: bool


@dataclass(frozen=True)
class LiveJourney(JourneyVersion):
    """A journey that is live or paused, at its live version."""

    is_paused: bool = False

    @cached_property
    def date_entries(self) -> Mapping[int, DateEntry]:
        """The date entries by their position among the journey's entries."""
        entries = enumerate(self.definition.enter.entries)
        return {position: entry for position, entry in entries if isinstance(entry, DateEntry)}


@dataclass(frozen=True)
class LiveJourneys:
    """All journeys as of one change number."""

    number: int = -1
    journeys: Mapping[str, LiveJourney] = field(default_factory=dict)

    @cached_property
    def entries(self) -> Mapping[str, list[EntryMatch]]:
        """The event entries by event name."""
        found: dict[str, list[EntryMatch]] = {}
        for journey in self.journeys.values():
            for entry in journey.definition.enter.entries:
                match, matches = as_event(entry), compile_entry(entry)
                if match is not None and matches is not None:
                    varies = any("customer" in str(predicate.model_dump()) for predicate in match.where)
                    found.setdefault(match.event, []).append(EntryMatch(journey, matches, varies))
        return found

    @cached_property
    def date_traits(self) -> frozenset[str]:
        """The traits that hold dates on which somebody may enter."""
        entries = (entry for journey in self.journeys.values() for entry in journey.date_entries.values())
        return frozenset(entry.date.trait for entry in entries)

    @cached_property
    def longest_goal_days(self) -> int:
        """How far back a run can have entered and still reach its goal."""
        goals = [journey.goal_within.longest().days + 1 for journey in self.journeys.values() if journey.goal]
        return max(goals, default=0)


class JourneyCache:
    """What one process keeps of published journeys between batches."""

    def __init__(self, *, capacity: int = 2_000) -> None:
        self._live = LiveJourneys()
        self._versions: dict[tuple[str, int], JourneyVersion] = {}
        self._capacity = capacity

    async def live(self, session: WriteSession) -> LiveJourneys:
        """The journeys that count for everything this transaction decides."""
        statement = select(DocumentChange.number).where(DocumentChange.kind == KIND).with_for_update(read=True)
        number = await session.scalar(statement) or 0
        if number != self._live.number:
            self._live = LiveJourneys(number, await _read_live(session))
            self._versions |= {(each.key, each.version): each for each in self._live.journeys.values()}
        return self._live

    async def versions(
        self, session: ReadSession, wanted: Collection[tuple[str, int]]
    ) -> Mapping[tuple[str, int], JourneyVersion]:
        """These versions; immutable, so what was read once is kept."""
        missing = [each for each in wanted if each not in self._versions]
        if missing:
            if len(self._versions) + len(missing) > self._capacity:
                self._versions = {(each.key, each.version): each for each in self._live.journeys.values()}
            self._versions |= await _read_versions(session, missing)
        return self._versions


async def _read_live(session: ReadSession) -> dict[str, LiveJourney]:
    return {
        document.key: LiveJourney(
            document.key,
            document.version,
            JourneyDefinition.model_validate(document.document),
            is_paused=document.state is DocumentState.PAUSED,
        )
        for document in await live_documents(session, KIND)
    }


async def _read_versions(
    session: ReadSession, wanted: Collection[tuple[str, int]]
) -> dict[tuple[str, int], JourneyVersion]:
    key = tuple_(DocumentVersion.key, DocumentVersion.version)
    statement = select(DocumentVersion).where(DocumentVersion.kind == KIND, key.in_(wanted))
    return {
        (row.key, row.version): JourneyVersion(row.key, row.version, JourneyDefinition.model_validate(row.document))
        for row in (await session.execute(statement)).scalars()
    }
