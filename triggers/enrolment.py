"""Who enters a journey: the one way in, for events, API calls, journeys that start journeys, dates and schedules.

Every outcome is recorded, also why somebody was kept out. A run's row and the command that starts its workflow are
written together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from database.conditions import Subject, Verdict, judge
from database.entries import (
    Decision,
    EarlierRuns,
    EntryQuestion,
    NewRun,
    begin_runs,
    earlier_runs,
    record_decisions,
)
from database.outbox import NewCommand, add_commands, start_command
from database.session import WriteSession
from database.superseding import supersede
from domain.conditions import buckets
from domain.consent import TRANSACTIONAL
from domain.durations import parse_duration
from domain.ids import new_id
from domain.journeys.reentry import ITEM, Item, barred_by, items_of, occasion_of
from domain.runs import Doubt, JourneyInput, doubted
from domain.shop_settings import ShopSettings
from triggers.live import Live, LiveJourney

Identity = tuple[str, UUID, UUID, int | None]
"""What tells a candidate from all others: journey, customer, event, and which item of its list."""

MOST_DEPTH = 10
"""How many journeys can start one another before the chain is taken for a loop."""


class KeptOut(StrEnum):
    """Why a customer did not enter, in the order in which it is asked."""

    WHERE = "where"
    UNIDENTIFIED = "unidentified"
    RESTRICTED = "restricted"
    PAUSED = "paused"
    LOOP = "loop"
    OCCASION_MISSING = "occasion_missing"
    ITEMS_MISSING = "items_missing"  # a journey for each item of a list, and the event has no such list
    OVER_ALREADY = "over_already"  # before we knew who it was, an exit event had followed
    OCCASION_TAKEN = "occasion_taken"
    ALREADY_ACTIVE = "already_active"
    AGAIN_AFTER = "again_after"
    AGAIN_AT_MOST = "again_at_most"
    CONDITION = "condition"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A customer about to enter a live journey by an event. The caller has locked the customer.

    `number`: the routing number up to which the customer's events count. `refused`: what is known against it already.
    """

    journey: LiveJourney
    customer_id: UUID
    event_id: UUID
    message_id: str
    event: str
    properties: Mapping[str, Any]
    timestamp: datetime
    number: int
    depth: int = 0
    trusted: bool = True  # not from a browser
    doubt: Doubt | None = None  # what would have come out otherwise on trusted facts alone
    identified: bool = True
    restricted: bool = False  # the customer's processing is
    refused: KeptOut | None = None
    failed_leaf: str | None = None
    seen_number: int | None = None  # if the run's waits begin to look later than at `number`
    silenced: Mapping[str, str] | None = None  # by an exit of which a browser told, before we knew who it was
    item: Item | None = None

    @property
    def entry(self) -> dict[str, Any]:
        """The entry event as conditions, templates and the run see it."""
        entry = {
            "event": self.event,
            "properties": dict(self.properties),
            "timestamp": self.timestamp.isoformat(),
            "event_id": str(self.event_id),
            "trusted": self.trusted,
        }
        return entry if self.item is None else {**entry, ITEM: self.item.value}

    @property
    def identity(self) -> Identity:
        """What tells it from all other candidates."""
        return (self.journey.key, self.customer_id, self.event_id, self.item.position if self.item else None)

    @property
    def is_trusted(self) -> bool:
        """Whether trusted facts alone would have led here."""
        return self.trusted and self.doubt is None

    def doubted(self, by: Doubt) -> Candidate:
        """The same, with the first doubt about it."""
        return self if self.doubt is not None else replace(self, doubt=by)

    @property
    def occasion(self) -> str | None:
        """What this entry is about: one run for each customer and value. None: the event lacks it."""
        return occasion_of(self.journey.definition.enter, self.entry, self.message_id, self.item)

    def for_each_item(self) -> list[Candidate]:
        """One candidate for each item of its list, where the journey asks for that; else itself."""
        path = self.journey.definition.enter.for_each
        if path is None or self.refused is not None or self.item is not None:
            return [self]
        each = [replace(self, item=item) for item in items_of(path, self.entry)]
        return each or [replace(self, refused=KeptOut.ITEMS_MISSING)]


@dataclass(frozen=True, slots=True)
class EntryOutcome:
    """What became of a candidate: `run` if it entered, else the reason and, for a condition, where its leaf stands."""

    candidate: Candidate
    run: NewRun | None = None
    reason: KeptOut | None = None
    failed_leaf: str | None = None

    @property
    def entered(self) -> bool:
        """Whether a run began."""
        return self.run is not None


async def enrol(
    session: WriteSession, candidates: Sequence[Candidate], *, live: Live, as_of: datetime
) -> list[EntryOutcome]:
    """Decide about all candidates, begin the runs of those who enter, record every outcome. Answers in any order."""
    enrolment = Enrolment(session, candidates, live=live, as_of=as_of)
    await enrolment.decide(candidates)
    await enrolment.record()
    return enrolment.outcomes


class Enrolment:
    """Decides about the candidates of one transaction, all at once or a few at a time, in the order of their events.

    The condition of a journey is asked about all candidates of the same customers at once: `number` says which events
    count for each.
    """

    def __init__(self, session: WriteSession, candidates: Sequence[Candidate], *, live: Live, as_of: datetime) -> None:
        self.outcomes: list[EntryOutcome] = []
        self.superseded: set[UUID] = set()  # runs that gave way to those that began
        self._session = session
        self._candidates = [each for candidate in candidates for each in candidate.for_each_item()]
        self._live = live
        self._as_of = as_of
        self._verdicts: dict[Identity, Verdict] = {}

    async def decide(self, candidates: Sequence[Candidate]) -> list[NewRun]:
        """Decide about these and begin the runs of those who enter, which it answers."""
        begun: list[NewRun] = []
        for round_ in _rounds([each for candidate in candidates for each in candidate.for_each_item()]):
            decided = await self._decide(round_)
            begun += [outcome.run for outcome in decided if outcome.run is not None]
            self.outcomes += decided
        return begun

    async def record(self) -> None:
        """Keep what was decided, and have the workflows of the runs that began started."""
        begun = [_start(outcome.candidate, run) for outcome in self.outcomes if (run := outcome.run)]
        told = sorted(self.outcomes, key=lambda outcome: outcome.entered)  # of one event's items, that one entered
        await record_decisions(self._session, [_decision(outcome) for outcome in told], self._as_of)
        await add_commands(self._session, begun)

    async def _decide(self, candidates: Sequence[Candidate]) -> list[EntryOutcome]:
        outcomes = [_refused_at_sight(candidate) for candidate in candidates]
        open_ = [candidate for candidate, refused in zip(candidates, outcomes, strict=True) if refused is None]
        earlier = await earlier_runs(self._session, [self._question(candidate) for candidate in open_])
        refused = [_refused_by_earlier(*pair, self._as_of) for pair in zip(open_, earlier, strict=True)]
        unbarred = [candidate for candidate, bar in zip(open_, refused, strict=True) if bar is None]
        await self._judge(unbarred)
        judged = [_outcome(each, self._verdicts[each.identity]) for each in unbarred]
        known = {each.identity: found for each, found in zip(open_, earlier, strict=True)}
        entering, barred = await self._bar_doubted([each for each in judged if isinstance(each, Candidate)], known)
        begun = await self._begin(entering, known)
        kept_out = [*outcomes, *refused, *barred, *(each for each in judged if isinstance(each, EntryOutcome))]
        return [outcome for outcome in (*kept_out, *begun) if outcome is not None]

    async def _judge(self, candidates: Sequence[Candidate]) -> None:
        """One statement for each journey, about these and what else the same customers do in this transaction."""
        asking: dict[str, set[UUID]] = {}
        for candidate in candidates:
            if candidate.identity not in self._verdicts:
                asking.setdefault(candidate.journey.key, set()).add(candidate.customer_id)
        for journey, customers in asking.items():
            group = [each for each in self._candidates if each.journey.key == journey and each.customer_id in customers]
            verdicts = await _verdicts(self._session, group, self._live.shop, self._as_of)
            self._verdicts |= {each.identity: verdict for each, verdict in zip(group, verdicts, strict=True)}

    def _question(self, candidate: Candidate) -> EntryQuestion:
        journey, again = candidate.journey, candidate.journey.definition.enter.again
        return EntryQuestion(
            *(journey.key, candidate.customer_id, candidate.occasion or ""),
            since=parse_duration(again.per).before(self._as_of) if again and again.per else None,
            alone=again is None or not again.while_active,
            trusted=candidate.is_trusted,
            of_value=journey.key in self._live.worth.journeys,
            tells=journey.tells,
        )

    async def _bar_doubted(
        self, candidates: Sequence[Candidate], known: dict[Identity, EarlierRuns]
    ) -> tuple[list[Candidate], list[EntryOutcome]]:
        """Those whom the condition made untrusted are barred by every run: asked again where some were passed over."""
        doubted = [each for each in candidates if not each.is_trusted and known[each.identity].passes_over]
        earlier = await earlier_runs(self._session, [self._question(each) for each in doubted])
        known |= {each.identity: found for each, found in zip(doubted, earlier, strict=True)}
        refused = [_refused_by_earlier(*pair, self._as_of) for pair in zip(doubted, earlier, strict=True)]
        barred = {outcome.candidate.identity: outcome for outcome in refused if outcome is not None}
        return [each for each in candidates if each.identity not in barred], list(barred.values())

    async def _begin(
        self, candidates: Sequence[Candidate], earlier: Mapping[Identity, EarlierRuns]
    ) -> list[EntryOutcome]:
        """Begin the runs, where trusted facts led to them in the place of those that browsers began."""
        runs = [_new_run(candidate, earlier[candidate.identity], self._as_of) for candidate in candidates]
        await self._supersede([earlier[each.identity] for each in candidates])
        begun = await begin_runs(self._session, runs)
        return [
            EntryOutcome(candidate, run=run)
            if run.id in begun
            else EntryOutcome(candidate, reason=KeptOut.OCCASION_TAKEN)
            for candidate, run in zip(candidates, runs, strict=True)
        ]

    async def _supersede(self, earlier: Sequence[EarlierRuns]) -> None:
        about_it = [run for found in earlier for run in found.about_it]
        in_its_way = [run for found in earlier for run in found.in_its_way]
        if about_it or in_its_way:
            await supersede(self._session, about_it, in_its_way, self._as_of)
            self.superseded |= {*about_it, *in_its_way}


def _rounds(candidates: Sequence[Candidate]) -> Iterator[list[Candidate]]:
    """One customer's events for one journey are decided one after the other: the first may bar the second. The items of
    one event bar one another by their occasion only, so they are decided together.
    """
    waiting = list(candidates)
    while waiting:
        turns: dict[tuple[str, UUID], UUID] = {}
        for each in waiting:
            turns.setdefault((each.journey.key, each.customer_id), each.event_id)
        now = [each for each in waiting if turns[each.journey.key, each.customer_id] == each.event_id]
        yield now
        waiting = [each for each in waiting if turns[each.journey.key, each.customer_id] != each.event_id]


def _refused_at_sight(candidate: Candidate) -> EntryOutcome | None:
    """What the candidate itself shows."""
    if candidate.refused is not None:
        return EntryOutcome(candidate, reason=candidate.refused, failed_leaf=candidate.failed_leaf)
    if not candidate.identified:
        return EntryOutcome(candidate, reason=KeptOut.UNIDENTIFIED)
    if candidate.restricted:
        return EntryOutcome(candidate, reason=KeptOut.RESTRICTED)
    if candidate.journey.is_paused:
        return EntryOutcome(candidate, reason=KeptOut.PAUSED)
    if candidate.depth > MOST_DEPTH:
        return EntryOutcome(candidate, reason=KeptOut.LOOP)
    if candidate.occasion is None:
        return EntryOutcome(candidate, reason=KeptOut.OCCASION_MISSING)
    return None


def _refused_by_earlier(candidate: Candidate, earlier: EarlierRuns, as_of: datetime) -> EntryOutcome | None:
    """What earlier runs of the journey say: the occasion first, then the limits of `again`."""
    bar = barred_by(
        candidate.journey.definition.enter.again,
        occasion_taken=earlier.occasion_taken,
        is_active=earlier.is_active,
        last_entered_at=earlier.last_entered_at,
        entered_within=earlier.entered_since,
        as_of=as_of,
    )
    return EntryOutcome(candidate, reason=KeptOut(bar)) if bar else None


async def _verdicts(
    session: WriteSession, group: Sequence[Candidate], shop: ShopSettings, as_of: datetime
) -> list[Verdict]:
    """The verdicts on candidates of one journey, with the leaf that kept somebody out."""
    condition = group[0].journey.definition.enter.if_
    if condition is None:
        return [Verdict(holds=True)] * len(group)
    subjects = [
        Subject(
            customer_id=each.customer_id,
            as_of=as_of,
            number=each.number,
            entry=each.entry,
            entered_at=as_of,
            entry_number=each.number,
        )
        for each in group
    ]
    compare = any(each.is_trusted for each in group)
    return await judge(session, condition, subjects, shop=shop.defaults, explain=True, compare=compare)


def _outcome(candidate: Candidate, verdict: Verdict) -> Candidate | EntryOutcome:
    if verdict.holds:
        return candidate if verdict.is_trusted else candidate.doubted(Doubt.CONDITION)
    return EntryOutcome(candidate, reason=KeptOut.CONDITION, failed_leaf=f"/enter/if{verdict.failed_leaf or ''}")


def _new_run(candidate: Candidate, earlier: EarlierRuns, as_of: datetime) -> NewRun:
    journey, occasion = candidate.journey, candidate.occasion or ""
    doubt = candidate.doubt or (None if candidate.trusted else Doubt.EVENT)
    return NewRun(
        id=new_id(),
        journey=journey.key,
        version=journey.version,
        customer_id=candidate.customer_id,
        occasion=occasion,
        shadow=in_holdout(candidate.customer_id, journey.key, journey.definition.enter.holdout),
        entry_number=candidate.number,
        seen_number=candidate.number if candidate.seen_number is None else candidate.seen_number,
        entry=candidate.entry,
        depth=candidate.depth,
        entered_at=as_of,
        workflow_id=workflow_id(journey.key, candidate.customer_id, "/".join([occasion, *map(str, earlier.about_it)])),
        untrusted=doubted(doubt, as_of) if doubt else None,
        silenced=candidate.silenced,
    )


def in_holdout(customer_id: UUID, journey: str, percent: float) -> bool:
    """Whether the customer belongs to the share of customers that gets nothing from this journey: always the same."""
    return buckets.position(customer_id, f"holdout:{journey}") < percent * buckets.SIZE / 100


def workflow_id(journey: str, customer_id: UUID, occasion: str) -> str:
    """`journey/<key>/<our customer uuid>/<hash of the occasion>`: the shop's own ids never reach Temporal."""
    return f"journey/{journey}/{customer_id}/{hashlib.sha256(occasion.encode()).hexdigest()[:16]}"


def _start(candidate: Candidate, run: NewRun) -> NewCommand:
    given = JourneyInput(run_id=run.id, customer_id=run.customer_id, journey=run.journey, version=run.version)
    details = f"Entered by *{candidate.event}*." + (" Holdout: nothing is sent." if run.shadow else "")
    definition = candidate.journey.definition
    title, is_transactional = definition.name or run.journey, definition.purpose == TRANSACTIONAL
    return start_command(given, run.workflow_id, title=title, details=details, is_transactional=is_transactional)


def _decision(outcome: EntryOutcome) -> Decision:
    candidate = outcome.candidate
    return Decision(
        *(candidate.journey.key, candidate.customer_id, candidate.event_id, candidate.journey.version),
        outcome="entered" if outcome.run else "kept_out",
        reason=outcome.reason,
        failed_leaf=outcome.failed_leaf,
        run_id=outcome.run.id if outcome.run else None,
    )
