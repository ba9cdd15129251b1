"""Simulating a journey over the recorded events of a past period: nothing is written, nothing is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import fields
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Self

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from api.auth import requires
from api.dependencies import Dependencies, Writing
from api.document_bodies import draft_schema
from api.documents import Key
from api.routing import ApiRoute, only_asks
from database import documents
from database.journey_checks import names_of, surroundings
from database.programmes import live_programme
from database.recordings import recordings, who_could_enter
from database.session import ReadSession
from database.shop_settings import shop_settings
from domain.conditions.model import PointsAre, TierIs
from domain.conditions.walk import leaves
from domain.drafts import read_draft
from domain.errors import ChecksFailed, Conflict, FieldError, NotFound
from domain.findings import Finding
from domain.funnels import StepCounts
from domain.instants import Instant
from domain.journeys.checks import check_journey
from domain.journeys.definition import ApiEntry, DateEntry, JourneyDefinition, PointsEntry, ScheduleEntry, as_event
from domain.journeys.identity import with_ids
from domain.journeys.matches import TraitMatch
from domain.journeys.places import conditions_with_places, matches_with_places
from domain.journeys.simulation import ASSUMPTIONS, Simulation
from domain.journeys.steps import PointsStep
from domain.keys import Scope
from domain.runs import RunState
from domain.simulations import Costs, LoggedStep, SampleRun, SimulationResult

router = APIRouter(route_class=ApiRoute)

MOST_CUSTOMERS = 5_000
LONGEST_PERIOD = timedelta(days=366)

_UNWALKABLE = {
    "duplicate_id",
    "unknown_step",
    "loop_without_wait",
    "not_available_yet",
    "malformed_path",
    "malformed_schedule",
    "unknown_path",
}
"""Findings with which a journey cannot be walked; others, such as a missing template, do not matter here."""


Definition = Annotated[dict[str, Any], WithJsonSchema(draft_schema(JourneyDefinition, "journey"))]


class SimulateWish(BaseModel):
    """The period, and the journey if it is not the saved draft."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    definition: Definition | None = None
    start: Instant = Field(alias="from")
    end: Instant = Field(alias="to")


class SimulatedStep(BaseModel):
    """How many runs reached a step and what became of them there."""

    step: str
    kind: str
    name: str | None
    reached: int
    waiting: int
    done: int
    skipped: dict[str, int]
    failed: int


class MessagesOfDay(BaseModel):
    """How many messages would have left on a day (UTC)."""

    date: date
    messages: int


class SimulatedCosts(BaseModel):
    """Points that steps would have given and taken, and how often each reward, by its key, would have been given."""

    points_awarded: int
    points_deducted: int
    rewards: dict[str, int]


class SampleStep(BaseModel):
    """One step of a sample run."""

    step: str
    kind: str
    visit: int
    reached_at: datetime
    at: datetime | None
    outcome: str
    reason: str | None


class Sample(BaseModel):
    """One simulated run to read."""

    customer_id: str
    entered_at: datetime
    ended_at: datetime | None
    state: RunState
    reason: str | None
    holdout: bool
    trusted: bool
    steps: list[SampleStep]


class SimulationAnswer(BaseModel):
    """What the journey would have done."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    start: datetime = Field(alias="from")
    end: datetime = Field(alias="to")
    entered: int
    untrusted: int
    holdout: int
    active: int
    completed: int
    failed: int
    exited: dict[str, int]
    converted: int
    kept_out: dict[str, int]
    steps: list[SimulatedStep]
    messages_per_day: list[MessagesOfDay]
    costs: SimulatedCosts
    gate: dict[str, int]
    samples: list[Sample]
    assumptions: list[str]

    @classmethod
    def of(
        cls, result: SimulationResult, definition: JourneyDefinition, wish: SimulateWish, assumptions: list[str]
    ) -> Self:
        """From the sum of a simulation."""
        steps = [
            SimulatedStep(step=step.id or "", kind=step.kind, name=step.name, **_members(result.steps[step.id or ""]))
            for step in definition.walk()
        ]
        counts = _members(result)
        samples = [
            Sample(**_members(run) | {"steps": [_members(step) for step in run.steps]}) for run in result.samples
        ]
        days = [MessagesOfDay(date=day, messages=count) for day, count in sorted(result.messages.items())]
        return cls(
            start=wish.start,
            end=wish.end,
            steps=steps,
            messages_per_day=days,
            costs=SimulatedCosts(**_members(result.costs)),
            samples=samples,
            assumptions=assumptions,
            **{name: counts[name] for name in _COUNTS},
        )


_COUNTS = (
    "entered",
    "untrusted",
    "holdout",
    "active",
    "completed",
    "failed",
    "exited",
    "converted",
    "kept_out",
    "gate",
)


@router.post("/{key}/simulate", dependencies=[requires(Scope.JOURNEYS_READ)], summary="Simulate over a past period")
@only_asks
async def simulate_journey(
    key: Key, wish: SimulateWish, session: Writing, dependencies: Dependencies
) -> SimulationAnswer:
    """The interpreter of production, on a virtual clock over recorded events. Answers counts and sample runs."""
    _check_period(wish)
    await session.take_long()
    definition = await _definition(session, key, wish.definition)
    around = await surroundings(session, definition, allow_private_calls=dependencies.allow_private_calls)
    _check_walkable(check_journey(definition, around))
    written = with_ids(definition)
    simulation = Simulation(written, await shop_settings(session), wish.start, wish.end, around.rewards or ())
    assumptions = await _play(session, simulation, written, wish)
    return SimulationAnswer.of(simulation.result(), written, wish, assumptions)


async def _play(
    session: ReadSession, simulation: Simulation, definition: JourneyDefinition, wish: SimulateWish
) -> list[str]:
    entries = definition.enter.entries
    starting = {match.event for entry in entries if (match := as_event(entry))}
    everybody = any(isinstance(entry, DateEntry | ScheduleEntry | PointsEntry) for entry in entries)
    ids = await who_could_enter(session, starting, wish.start, wish.end, everybody=everybody, limit=MOST_CUSTOMERS + 1)
    with_traits = any(isinstance(match, TraitMatch) for match, _ in matches_with_places(definition))
    pages = recordings(
        session, ids[:MOST_CUSTOMERS], names_of(definition) | starting, wish.end, journey=definition.journey,
        with_traits=with_traits, programme=await live_programme(session) if _asks_loyalty(definition) else None,
    )  # fmt: skip
    async for page in pages:
        for record in page:
            await asyncio.to_thread(simulation.play, record)  # Python at work: other requests go on meanwhile
    return _assumptions(len(ids) > MOST_CUSTOMERS, any(isinstance(entry, ApiEntry) for entry in entries))


def _asks_loyalty(definition: JourneyDefinition) -> bool:
    """Whether points or tiers matter to the journey."""
    conditions = (condition for condition, _ in conditions_with_places(definition))
    return (
        bool(definition.enter.thresholds)
        or any(isinstance(step, PointsStep) for step in definition.walk())
        or any(isinstance(leaf, PointsAre | TierIs) for condition in conditions for _, leaf in leaves(condition))
    )


def _assumptions(cut: bool, has_api_entry: bool) -> list[str]:
    found = list(ASSUMPTIONS)
    if cut:
        found.append(f"only the first {MOST_CUSTOMERS} customers who could enter")
    if has_api_entry:
        found.append("nobody is entered by a call")
    return found


def _check_period(wish: SimulateWish) -> None:
    if wish.end <= wish.start:
        raise Conflict(
            "to must be after from.", code="period", errors=(FieldError("/to", "must be after from", "period"),)
        )
    if wish.end - wish.start > LONGEST_PERIOD:
        longest = f"must be at most {LONGEST_PERIOD.days} days after from"
        raise Conflict(f"to {longest}.", code="period", errors=(FieldError("/to", longest, "period"),))


async def _definition(session: ReadSession, key: str, given: Mapping[str, Any] | None) -> JourneyDefinition:
    if given is None:
        row = await documents.load(session, "journey", key)
        if row is None:
            raise NotFound(f"There is no journey {key}.", code="journey_not_found")
        given = row.draft
    draft = read_draft(JourneyDefinition, {"journey": key, **given})
    if not isinstance(draft.document, JourneyDefinition):
        raise _failed(list(draft.findings))
    return draft.document


def _check_walkable(findings: list[Finding]) -> None:
    errors = [finding for finding in findings if finding.code in _UNWALKABLE]
    if errors:
        raise _failed(errors)


def _failed(findings: list[Finding]) -> ChecksFailed:
    shown = [finding.model_dump(mode="json") for finding in findings]
    return ChecksFailed(findings[0].message, members={"findings": shown})


def _members(value: Costs | StepCounts | SimulationResult | SampleRun | LoggedStep) -> dict[str, Any]:  # by name
    return {field.name: getattr(value, field.name) for field in fields(value)}
