"""What is published now, compiled for the router: who starts on which event, what runs watch for, what earns.

The cache is compared with `document_changes` once in every batch, under a share lock: a publish or a pause waits for
the batches that began before it, and every later batch sees it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from sqlalchemy import Text, cast, select, text, tuple_

from database.challenges import KIND as CHALLENGE
from database.challenges import LiveChallenge, live_challenges
from database.contests import KIND as CONTEST
from database.contests import LiveContest, live_contests
from database.definitions import JOURNEY
from database.documents import DocumentVersion, live_documents
from database.programmes import KIND as PROGRAMME
from database.programmes import LiveProgramme, live_versions
from database.published import VersionText, readable
from database.session import ReadSession, WriteSession
from database.shop_settings import shop_settings
from domain.conditions.inputs import asks_for_state
from domain.conditions.paths import steps_of
from domain.documents import DocumentState
from domain.durations import Duration, parse_duration
from domain.journeys.definition import DateEntry, JourneyDefinition, as_event
from domain.journeys.exits import exit_reason
from domain.journeys.looks import looks_at_conditions
from domain.journeys.steps import SendStep, WaitForStep, WaitStep
from domain.journeys.waiting import CompiledWait, Matcher, compile_entry, compile_match, compile_wait
from domain.journeys.worth import Worth
from domain.programmes.checks import events_of
from domain.shop_settings import ShopSettings

_SETTINGS = "settings"


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
    def looks(self) -> bool:
        """Whether its runs look at conditions when anything happens to their customers."""
        return looks_at_conditions(self.definition)

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
    def tells(self) -> bool:
        """Whether it sends messages."""
        return any(isinstance(step, SendStep) for step in self.definition.walk())

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
            step.id: str(steps_of(step.wait.trait)[0])
            for step in steps
            if step.id is not None and step.wait.trait is not None
        }


@dataclass(frozen=True, slots=True)
class EntryMatch:
    """An event entry of a live journey. `varies`: its predicates refer to the customer, whose traits may change.

    `by_state`: the journey's condition asks for more than what the customer has done up to the event.
    """

    journey: LiveJourney
    matches: Matcher
    varies: bool
    by_state: bool


@dataclass(frozen=True)
class LiveJourney(JourneyVersion):
    """A journey that is live or paused, at its live version."""

    is_paused: bool = False

    @cached_property
    def enters_by_state(self) -> bool:
        """Whether its entry condition asks for what later events of a batch may change: traits, consent, points, ..."""
        condition = self.definition.enter.if_
        return condition is not None and asks_for_state(condition)

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
                    found.setdefault(match.event, []).append(
                        EntryMatch(journey, matches, varies, journey.enters_by_state)
                    )
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


@dataclass(frozen=True)
class Live:
    """Everything that is published and counts for what a batch decides, as of one state of the database."""

    journeys: LiveJourneys = field(default_factory=LiveJourneys)
    programmes: Sequence[LiveProgramme] = ()  # versions of the live one, the oldest first
    challenges: Mapping[str, LiveChallenge] = field(default_factory=dict)
    had_challenges: bool = False  # any was ever published: what it gave may have to come back
    contests: Mapping[str, LiveContest] = field(default_factory=dict)
    shop: ShopSettings = field(default_factory=ShopSettings)

    @cached_property
    def worth(self) -> Worth:
        """What leads to value: which journeys give, and which events earn, count or enter a contest."""
        names: set[str] = set()
        for programme in self.programmes[-1:]:
            names |= events_of(programme.definition)
        for challenge in self.challenges.values():
            names |= challenge.definition.event_names
        for contest in self.contests.values():
            names |= contest.rules.keys()
        return Worth.of(names, [journey.definition for journey in self.journeys.journeys.values()])


_KINDS = (JOURNEY, PROGRAMME, CHALLENGE, CONTEST)

# The change numbers under a share lock, so that whoever publishes or pauses waits for this transaction, and the tag of
# the settings. One row, also before anything was ever published.
_STATE = text("""
    WITH locked AS MATERIALIZED (
        SELECT kind, number FROM document_changes WHERE kind = ANY(CAST(:kinds AS text[])) ORDER BY kind FOR SHARE
    )
    SELECT
        (SELECT coalesce(jsonb_object_agg(kind, number), '{}') FROM locked) AS numbers,
        (SELECT etag FROM shop_settings) AS settings
""")


class LiveCache:
    """What one process keeps of published documents and settings between batches, compared by their change numbers."""

    def __init__(self, *, capacity: int = 2_000) -> None:
        self._live = Live()
        self._numbers: Mapping[str, int] = {}
        self._settings: str | None = None
        self._versions: dict[tuple[str, int], JourneyVersion] = {}
        self._capacity = capacity

    async def live(self, session: WriteSession) -> Live:
        """What counts for everything this transaction decides; asked once in it."""
        state = (await session.execute(_STATE, {"kinds": list(_KINDS)})).one()
        changed = {kind for kind in _KINDS if state.numbers.get(kind, 0) != self._numbers.get(kind, 0)}
        if state.settings != self._settings:
            changed |= {_SETTINGS, PROGRAMME}  # a programme without a zone of its own takes the shop's
        if changed:
            self._live = await _read(session, self._live, changed, state.numbers)
            self._numbers, self._settings = state.numbers, state.settings
            self._versions |= {(each.key, each.version): each for each in self._live.journeys.journeys.values()}
        return self._live

    async def versions(
        self, session: ReadSession, wanted: Collection[tuple[str, int]]
    ) -> Mapping[tuple[str, int], JourneyVersion]:
        """These versions, but for those that this release cannot read; immutable, so what was read once is kept."""
        missing = [each for each in wanted if each not in self._versions]
        if missing:
            if len(self._versions) + len(missing) > self._capacity:
                self._versions = {(each.key, each.version): each for each in self._live.journeys.journeys.values()}
            self._versions |= await _read_versions(session, missing)
        return self._versions


async def _read(session: ReadSession, known: Live, changed: Collection[str], numbers: Mapping[str, int]) -> Live:
    number = numbers.get(JOURNEY, 0)
    return Live(
        journeys=LiveJourneys(number, await _read_journeys(session)) if JOURNEY in changed else known.journeys,
        programmes=await live_versions(session) if PROGRAMME in changed else known.programmes,
        challenges=await live_challenges(session) if CHALLENGE in changed else known.challenges,
        had_challenges=numbers.get(CHALLENGE, 0) > 0,
        contests=await live_contests(session) if CONTEST in changed else known.contests,
        shop=await shop_settings(session) if _SETTINGS in changed else known.shop,
    )


async def _read_journeys(session: ReadSession) -> dict[str, LiveJourney]:
    found = {}
    for document in await live_documents(session, JOURNEY):
        definition = readable(
            JourneyDefinition, VersionText(JOURNEY, document.key, document.version, document.document)
        )
        if definition is not None:
            is_paused = document.state is DocumentState.PAUSED
            found[document.key] = LiveJourney(document.key, document.version, definition, is_paused=is_paused)
    return found


async def _read_versions(
    session: ReadSession, wanted: Collection[tuple[str, int]]
) -> dict[tuple[str, int], JourneyVersion]:
    key = tuple_(DocumentVersion.key, DocumentVersion.version)
    statement = select(DocumentVersion.key, DocumentVersion.version, cast(DocumentVersion.document, Text))
    rows = await session.execute(statement.where(DocumentVersion.kind == JOURNEY, key.in_(wanted)))
    return {
        (key, version): JourneyVersion(key, version, definition)
        for key, version, document in rows
        if (definition := readable(JourneyDefinition, VersionText(JOURNEY, key, version, document))) is not None
    }
