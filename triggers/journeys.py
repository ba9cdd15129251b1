"""The reaction of journeys: runs that an event exits, carries on or converts, then runs that it begins."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from itertools import chain
from uuid import UUID

from database.entries import NewRun, joined_since
from database.watches import WatchedRun
from domain.runs import SUPERSEDED, RunState
from triggers.batch import BatchEvent, Wave, waves
from triggers.enrolment import Candidate, Enrolment
from triggers.entrants import beginners, candidates
from triggers.waits import Settlement, settle

_MOST_JOINED = 1_000


async def react_in_journeys(wave: Wave) -> None:
    """One event can match several things: exits first, then waits, then goals; entries last, so an event that begins a
    run never counts in it. What follows an event that may begin a run is looked at after it."""
    found: dict[tuple[UUID, int], list[Candidate]] = {}
    for candidate in await candidates(wave):
        found.setdefault((candidate.customer_id, candidate.number), []).append(candidate)
    enrolment = Enrolment(wave.session, list(chain(*found.values())), live=wave.published, as_of=wave.as_of)
    for events in waves(wave.events, beginners(wave)):
        part = replace(wave, events=events)
        await _meet_runs(part)
        entering = [each for event in events for each in found.get((event.customer.id, event.number), ())]
        _watch(part, await enrolment.decide(entering))
        _give_way(part, enrolment.superseded)
    await enrolment.record()


async def _meet_runs(wave: Wave) -> None:
    settlement = Settlement()
    for event in wave.events:
        if event.customer.runs:
            await _settle_joined(wave, event, settlement)
            settle(wave, event, event.happening(), settlement)
    await settlement.write(wave.session, wave.as_of)


async def _settle_joined(wave: Wave, event: BatchEvent, into: Settlement) -> None:
    """What the visitor did before we knew that it was this customer reaches the customer's runs now."""
    if not event.identifies:
        return
    since = min(run.entered_at for run in event.customer.runs)
    for anonymous_id in {event.event.anonymous_id, event.event.previous_id} - {None}:
        joined = await joined_since(wave.session, event.customer.id, str(anonymous_id), since, _MOST_JOINED)
        for happening in joined:
            is_theirs = happening.trusted and event.event.trusted  # a browser may have said who it was
            settle(wave, event, replace(happening, trusted=is_theirs), into)


def _give_way(wave: Wave, superseded: Collection[UUID]) -> None:
    """Runs that have just ended see nothing more of this batch."""
    ended = [run for customer in wave.customers() for run in customer.runs if run.id in superseded]
    for run in ended:
        run.state, run.reason, run.waits = RunState.EXITED, SUPERSEDED, []


def _watch(wave: Wave, runs: list[NewRun]) -> None:
    """Runs that have just begun see the later events of this batch."""
    customers = {event.customer.id: event.customer for event in wave.events}
    for run in runs:
        watched = WatchedRun(
            *(run.id, run.customer_id, run.journey, run.version, RunState.ACTIVE, None, run.entry, {}),
            *(run.entered_at, run.workflow_id),
            converted=False,
            waits=[],
            occasion=run.occasion,
            untrusted=run.untrusted,
            silenced=run.silenced,
        )
        customers[run.customer_id].runs.append(watched)
