"""Routing a claim: identity, then the reactions wave by wave. What fails is narrowed down and held (decision 0008)."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy.exc import DBAPIError

from database import customers, routing
from database.consent_addresses import settle_consents
from database.outages import is_outage, sqlstate_of
from database.referral_merging import follow_merge
from database.routing import PendingEvent
from database.session import WriteSession
from database.watches import watched_runs
from domain.error_texts import without_quotations
from domain.published import UnreadableDocument
from triggers.batch import BatchCustomer, Wave, waves
from triggers.challenges import recount
from triggers.claiming import claim, ground_of, in_order
from triggers.contests import leave_contests
from triggers.doubles import end_doubles
from triggers.earning import decide_again
from triggers.entrants import decisive, may_start
from triggers.identity import ContendedError, Ground, Identified, identify
from triggers.live import JourneyVersion, Live, LiveCache
from triggers.reactions import REACTIONS, Reaction
from triggers.rebuilding import rebuild
from triggers.referrals import leave_referrals
from triggers.returning import make_good
from triggers.tiers import weigh_tiers
from triggers.waits import Settlement, wake_at_waits

log = structlog.get_logger(__name__)

RETRIES = (timedelta(seconds=1), timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=2))
"""How long a failed event waits before each further try; after the last it is quarantined."""

LIVE_IN_A_ROW = 4
"""Windows of live events that are routed before waiting history has its turn."""

UNREADABLE_RETRY = timedelta(seconds=30)
"""How long an event waits that needs a document which this release cannot read: another process may read it."""

_TRANSIENT = ("08", "40", "53", "55", "57")
"""SQLSTATE classes that tell of the database or of other transactions, not of an event: the batch is tried again."""

Group = Sequence[PendingEvent]


@dataclass(frozen=True, slots=True)
class Routed:
    """What became of a claim. `seen`: how many pending events were looked at, none if there is nothing to do."""

    seen: int = 0
    routed: int = 0
    failed: int = 0

    def __add__(self, other: Routed) -> Routed:
        return Routed(self.seen + other.seen, self.routed + other.routed, self.failed + other.failed)


@dataclass(frozen=True, slots=True)
class _Batch:
    """What all tries of one claim share: its transaction, its time, and what is published."""

    session: WriteSession
    as_of: datetime
    live: Live


class Routing:
    """Claims and routes for one process. `reactions` are REACTIONS, but in tests of failures."""

    def __init__(self, cache: LiveCache, reactions: Sequence[Reaction] = REACTIONS) -> None:
        self._cache = cache
        self._reactions = reactions
        self._live_windows = 0  # since the last one of history
        self._claimed: list[UUID] = []  # events of the last claim, also of one that was rolled back

    async def route(self, session: WriteSession, as_of: datetime, limit: int) -> Routed:
        """Claim the customers of about `limit` pending events and route those, in the caller's transaction.

        Live events go before imported history, which gets one window in five while live ones wait.
        """
        window = await routing.window(session, as_of, limit, history_first=self._live_windows >= LIVE_IN_A_ROW)
        if not window.namings:
            return Routed()
        live = await self._cache.live(session)
        claimed = await claim(session, window, may_start(live.journeys), as_of)
        self._claimed = [event.id for group in claimed.groups for event in group]
        done = await self._together(_Batch(session, as_of, live), claimed.groups, claimed.ground)
        self._live_windows = 0 if window.is_history else self._live_windows + 1
        return done + Routed(seen=len(window.namings))

    async def quarantine_last(self, session: WriteSession, error: Exception) -> int:
        """Set aside what was claimed last, unless somebody has routed it meanwhile: it alone takes too long."""
        pending = await routing.still_pending(session, self._claimed)
        told = f"{sqlstate_of(error)}: {_words_of(error)}"
        for event in pending:
            log.error("event quarantined", event_id=str(event.id), error=told, attempts=event.attempts + 1)
            await routing.quarantine(session, event.id, attempts=event.attempts + 1, error=told)
        return len(pending)

    async def _together(self, batch: _Batch, groups: Sequence[Group], ground: Ground | None) -> Routed:
        """All groups at once; if that fails, each half; a group that fails alone, event by event."""
        if not groups:
            return Routed()
        try:
            async with batch.session.begin_nested():
                return await self._attempt(batch, in_order(groups), ground)
        except ContendedError as contended:
            return await self._together(batch, _without(groups, contended), None)
        except Exception as error:  # noqa: BLE001  whatever a reaction raises is narrowed down to its event and logged
            _raise_unless_its_own_fault(error)
            if len(groups) == 1:
                return await self._one_by_one(batch, groups[0])
        middle = len(groups) // 2
        first = await self._together(batch, groups[:middle], None)
        return first + await self._together(batch, groups[middle:], None)

    async def _one_by_one(self, batch: _Batch, group: Group) -> Routed:
        """The events of one group in order; the first that fails holds up the others, until it is quarantined."""
        done = Routed()
        for position, event in enumerate(group):
            try:
                async with batch.session.begin_nested():
                    done += await self._attempt(batch, [event], None)
            except ContendedError:
                return done
            except Exception as error:  # noqa: BLE001  the event is held or quarantined with its error, and logged
                _raise_unless_its_own_fault(error)
                done += Routed(failed=1)
                if await _set_aside(batch.session, group[position:], error, batch.as_of):
                    return done
        return done

    async def _attempt(self, batch: _Batch, events: list[PendingEvent], ground: Ground | None) -> Routed:
        """Route events whose customers are locked."""
        session, as_of = batch.session, batch.as_of
        identified = await identify(session, events, ground or await ground_of(session, events), as_of)
        blank = Wave(session, as_of, batch.live, {}, ())
        blank = replace(blank, versions=await self._with_runs(blank, identified))
        await make_good(session, identified.arrived, identified.customers, as_of)
        await _settle_identities(blank, identified)
        for events_of_wave in waves(identified.events, decisive(blank)):
            wave = replace(blank, events=events_of_wave)
            for react in self._reactions:
                await react(wave)
        return Routed(routed=len(events))

    async def _with_runs(self, wave: Wave, identified: Identified) -> Mapping[tuple[str, int], JourneyVersion]:
        """Give the customers their runs; answers the versions that those are pinned to."""
        working = _customers_of(identified)
        goals_since = wave.as_of - timedelta(days=wave.live.longest_goal_days)
        runs = await watched_runs(wave.session, [customer.id for customer in working], goals_since)
        for customer in working:
            customer.runs = runs.get(customer.id, [])
        wanted = {(run.journey, run.version) for found in runs.values() for run in found}
        return await self._cache.versions(wave.session, wanted)


async def _settle_identities(wave: Wave, identified: Identified) -> None:
    """What merges and moved histories mean for runs and for what is folded from events."""
    settlement = Settlement()
    working = _customers_of(identified)
    touched = identified.merged | identified.moved
    for customer in working:
        if customer.id in identified.merged:
            await end_doubles(wave.session, customer.runs, wave.versions, settlement)
        if customer.id in touched:
            wake_at_waits(wave, customer, settlement)
    await settlement.write(wave.session, wave.as_of)
    for survivor in sorted(identified.merged):
        await follow_merge(wave.session, survivor, wave.as_of)
    moved = [customer for customer in identified.customers.values() if customer.id in identified.moved]
    if moved:
        await rebuild(wave.session, moved, wave.shop)
        await customers.write(wave.session, [customer.write() for customer in moved])
        await settle_consents(wave.session, [customer.id for customer in moved])
    for customer in working:
        customer.is_joined = customer.id in identified.merged
    reopened = [customer for id_, customer in identified.customers.items() if id_ in identified.open_since]
    if reopened:
        await decide_again(replace(wave, others=reopened), identified.open_since)
        named = {customer.id for customer in working}
        if left := [customer for customer in reopened if customer.id not in named]:
            await weigh_tiers(replace(wave, others=left))
    counted = [customer for id_, customer in identified.customers.items() if id_ in touched]
    losers = {move.from_customer for move in identified.moves}
    parted = {id_: since for id_, since in identified.open_since.items() if id_ in losers}
    await recount(wave, counted, parted)
    if parted:
        parting = replace(wave, others=reopened)
        await leave_contests(parting, identified.moves, parted)
        await leave_referrals(parting, parted)


def _customers_of(identified: Identified) -> list[BatchCustomer]:
    return list({event.customer.id: event.customer for event in identified.events}.values())


def _without(groups: Sequence[Group], contended: ContendedError) -> list[Group]:
    """The groups that name none of the ids that another router is taking in."""
    return [group for group in groups if not any(key in contended.keys for event in group for key in event.naming.keys)]


def _raise_unless_its_own_fault(error: Exception) -> None:
    """A lost connection, a deadlock or a shutdown is nobody's event: the whole batch is tried again."""
    is_transient = isinstance(error, DBAPIError) and sqlstate_of(error).startswith(_TRANSIENT)
    if is_transient or is_outage(error):
        raise error


async def _set_aside(session: WriteSession, events: Group, error: Exception, as_of: datetime) -> bool:
    """Hold the first event, or quarantine it after its last try. Answers whether the others must wait behind it.

    What lacks a readable document is held however often: the fault is not the event's.
    """
    failed, *followers = events
    is_its_own = not isinstance(error, UnreadableDocument)
    attempts, what = failed.attempts + is_its_own, type(error).__name__
    told = f"{what}: {_words_of(error)}"
    if is_its_own and attempts > len(RETRIES):
        log.error("event quarantined", event_id=str(failed.id), error=what, where=_place_of(error), attempts=attempts)
        await routing.quarantine(session, failed.id, attempts=attempts, error=told)
        return False
    until = as_of + (RETRIES[attempts - 1] if is_its_own else UNREADABLE_RETRY)
    log.warning("event failed", event_id=str(failed.id), error=what, where=_place_of(error), attempts=attempts)
    await routing.hold(session, failed.id, attempts=attempts, until=until, error=told)
    await routing.stand_behind(session, [event.id for event in followers], until)
    ground = await ground_of(session, events)
    await customers.hold(session, list(ground.states), until)
    return True


def _words_of(error: Exception) -> str:
    """What went wrong, without what it quotes: that may be another customer's."""
    return without_quotations(str(getattr(error, "orig", None) or error))[:500]


def _place_of(error: Exception) -> str:
    """The line that raised. Not the message: it may quote what customers wrote."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "unknown"
