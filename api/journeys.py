"""Journeys: their life as documents, and what one asks of them at run time. Runs themselves: runs.py."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Depends, Query

from api import simulations
from api.auth import Caller, requires
from api.dependencies import AsOf, Dependencies, Reading, Writing
from api.documents import Key, document_router
from api.idempotency import concerns
from api.journey_answers import (
    Consideration,
    EnterAnswer,
    EnterWish,
    Explanation,
    FunnelAnswer,
    FunnelCounts,
    RunChangeAnswer,
)
from api.journey_kind import JourneyKind
from api.pagination import Id, Page, PageRequest, page, page_request
from api.run_answers import RunAnswer
from api.step_scopes import require_run_scopes, require_step_scopes
from database import customers, documents
from database.customers import Customer, customer_of
from database.documents import DocumentRow
from database.funnels import funnels
from database.run_changes import changes_of
from database.run_lists import decisions_about, find_run, page_of_runs
from database.session import ReadSession
from database.shop_settings import shop_settings
from domain.client_addresses import truncate_addresses
from domain.documents import Change
from domain.errors import Conflict, NotFound
from domain.events import KIND_NAMES, EventKind
from domain.ids import new_id
from domain.instants import Instant
from domain.journeys.definition import ApiEntry, JourneyDefinition
from domain.keys import Scope
from domain.published import read_published
from triggers.enrolment import Candidate, enrol
from triggers.live import LiveJourney


async def may_resume(key: Key, session: Writing, caller: Caller) -> None:
    """Resuming makes held steps act, so the key needs the scopes of what they do."""
    await documents.lock(session, JourneyKind.name, key)
    await require_run_scopes(session, caller, key)


router = document_router(
    JourneyKind, read=Scope.JOURNEYS_READ, write=Scope.JOURNEYS_WRITE, guards={Change.RESUME: may_resume}
)
router.include_router(simulations.router)

_MOST_EXPLAINED = 100


@router.post("/{key}/enter", dependencies=[requires(Scope.JOURNEYS_WRITE)], summary="Enter a customer")
async def enter_journey(
    *, key: Key, wish: EnterWish, session: Writing, dependencies: Dependencies, caller: Caller, as_of: AsOf
) -> EnterAnswer:
    """By the journey's `api` entry; its condition, occasion and re-entry rules decide.

    The key needs the scopes of what the steps do.
    """
    found = await _customer(session, wish.customer_id)
    concerns(session, found.id)
    locked = (await customers.lock(session, [found.id], skip_locked=False))[found.id]
    live = await dependencies.live.live(session)
    journey = live.journeys.journeys.get(key)
    if journey is None:
        await _document(session, key)
        raise Conflict("This journey is not live: publish it first.", code="not_live")
    await require_step_scopes(session, caller, journey.definition)
    kept = truncate_addresses(wish.properties) if dependencies.truncate_ip else wish.properties
    candidate = _candidate(journey, locked, wish.model_copy(update={"properties": kept}), as_of)
    outcomes = await enrol(session, [candidate], live=live, as_of=as_of)
    outcome = next((each for each in outcomes if each.entered), outcomes[0])  # the first of those for each item
    if outcome.run is None:
        return EnterAnswer(entered=False, reason=outcome.reason, failed_leaf=outcome.failed_leaf)
    shown = await find_run(session, outcome.run.id)
    return EnterAnswer(entered=True, run=shown and RunAnswer.of(shown, dependencies))


@router.get("/{key}/explain", dependencies=[requires(Scope.JOURNEYS_READ)], summary="Why is a customer in or out?")
async def explain_journey(
    key: Key,
    session: Reading,
    dependencies: Dependencies,
    as_of: AsOf,
    customer_id: Annotated[str, Query(min_length=1, max_length=1_000, description="The shop's own id.")],
) -> Explanation:
    """The customer's runs, and every event that could have started one with the rule that decided."""
    await _document(session, key)
    customer = await _customer(session, customer_id)
    runs = await page_of_runs(session, customer_id=customer.id, journey=key, limit=_MOST_EXPLAINED)
    considered = await decisions_about(session, key, customer.id, limit=_MOST_EXPLAINED)
    return Explanation(
        journey=key,
        customer_id=customer_id,
        entered=bool(runs),
        runs=[RunAnswer.of(run, dependencies) for run in runs],
        considered=[Consideration.of(row) for row in considered],
        considered_since=(await shop_settings(session)).decisions_kept_since(as_of),
    )


@router.get("/{key}/funnel", dependencies=[requires(Scope.JOURNEYS_READ)], summary="How many got how far")
async def journey_funnel(
    key: Key,
    session: Reading,
    version: Annotated[int | None, Query(ge=1, lt=2**31, description="Absent: the live one.")] = None,
    start: Annotated[Instant | None, Query(alias="from", description="Runs entered from then on.")] = None,
    end: Annotated[Instant | None, Query(alias="to", description="Runs entered before.")] = None,
) -> FunnelAnswer:
    """Counts runs of one version by when they entered."""
    wanted, definition = await _version(session, key, version)
    found = await funnels(session, key, wanted, start=start, end=end)
    return FunnelAnswer.of(found[False], definition, version=wanted, holdout=FunnelCounts.of(found[True], definition))


@router.get("/{key}/run-changes", dependencies=[requires(Scope.JOURNEYS_READ)], summary="Decisions about its runs")
async def list_run_changes(
    key: Key, session: Reading, wanted: Annotated[PageRequest, Depends(page_request)]
) -> Page[RunChangeAnswer]:
    """What plans, archiving and resuming decided about runs, the latest first, and how far each has been carried out.

    A decision holds from its answer on: no message leaves for a run that it ends, whether its turn has come or not.
    """
    await _document(session, key)
    before = wanted.after(Id)
    rows = await changes_of(session, key, before=before[0] if before else None, limit=wanted.probe)
    return page(rows, wanted, RunChangeAnswer.of, lambda row: (row.id,))


def _candidate(journey: LiveJourney, customer: customers.CustomerState, wish: EnterWish, as_of: datetime) -> Candidate:
    if not any(isinstance(entry, ApiEntry) for entry in journey.definition.enter.entries):
        raise Conflict("This journey has no api entry: add `on: api`, or `any` with it.", code="no_api_entry")
    event_id = new_id()
    return Candidate(
        journey=journey,
        customer_id=customer.id,
        event_id=event_id,
        message_id=str(event_id),
        event=KIND_NAMES[EventKind.START],
        properties=wish.properties,
        timestamp=as_of,
        number=customer.last_number,
        restricted=customer.is_restricted,
    )


async def _version(session: ReadSession, key: str, version: int | None) -> tuple[int, JourneyDefinition]:
    wanted = version or (await _document(session, key)).live_version
    row = wanted and await documents.version_of(session, JourneyKind.name, key, wanted)
    if not row:
        raise NotFound(f"The journey {key} has no such version.", code="version_not_found")
    return row.version, read_published(JourneyDefinition, row.document)


async def _document(session: ReadSession, key: str) -> DocumentRow:
    row = await documents.load(session, JourneyKind.name, key)
    if row is None:
        raise NotFound(f"There is no journey {key}.", code="journey_not_found")
    return row


async def _customer(session: ReadSession, customer_id: str) -> Customer:
    customer = await customer_of(session, customer_id)
    if customer is None:
        raise NotFound("There is no customer of that id.", code="customer_not_found")
    return customer
