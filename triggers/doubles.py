"""What a merge of two customers means for their runs: only those end that could not have stood side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from database.merging import occasion_before_merge
from database.session import ReadSession
from database.watches import WatchedRun, runs_that_sent
from domain.consent import TRANSACTIONAL
from domain.journeys.reentry import ITEM
from domain.runs import RunState
from triggers.live import JourneyVersion
from triggers.waits import MERGED, Settlement

Versions = Mapping[tuple[str, int], JourneyVersion]


async def end_doubles(session: ReadSession, runs: Sequence[WatchedRun], versions: Versions, into: Settlement) -> None:
    """Of two runs of one person and journey the trusted one goes on, else the older, where both are about one occasion,
    or where the journey lets in nobody who is in it. A transactional run about something of its own first sends what it
    is there to send.
    """
    kept: list[WatchedRun] = []
    alone: list[WatchedRun] = []  # about an occasion of their own, in a journey that has room for one run
    for run in sorted(runs, key=lambda run: (not run.trusted, run.entered_at, run.id)):
        if run.state != RunState.ACTIVE:
            continue
        others = [other for other in kept if other.journey == run.journey]
        if any(_occasion(other) == _occasion(run) for other in others):
            into.exit(run, MERGED)
        elif not all(_is_of_one_event(other, run) for other in others) and _stands_alone(
            versions.get((run.journey, run.version))
        ):
            alone.append(run)
        else:
            kept.append(run)
    unsent = await _unsent(session, alone, versions)
    for run in alone:
        if run.id not in unsent:
            into.exit(run, MERGED)


async def _unsent(session: ReadSession, runs: Sequence[WatchedRun], versions: Versions) -> set[UUID]:
    """The transactional ones among the runs that have sent nothing yet."""
    transactional = {run.id for run in runs if versions[(run.journey, run.version)].definition.purpose == TRANSACTIONAL}
    return transactional - await runs_that_sent(session, transactional) if transactional else transactional


def _stands_alone(version: JourneyVersion | None) -> bool:
    """Whether nobody enters the journey who is in it; a version that cannot be read ends no run."""
    if version is None:
        return False
    again = version.definition.enter.again
    return again is None or not again.while_active


def _is_of_one_event(run: WatchedRun, other: WatchedRun) -> bool:
    """Whether they are about two items of one list (`for_each`): those stand side by side."""
    return ITEM in run.entry and run.entry.get("event_id") == other.entry.get("event_id")


def _occasion(run: WatchedRun) -> str:
    return occasion_before_merge(run.occasion, run.id)
