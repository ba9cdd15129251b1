"""Identity of a batch: new customers and ids, merges, and anonymous histories that pass to whom they were of first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from prometheus_client import Counter

from database import customers
from database.customers import CustomerState
from database.histories import move_history, whom_visitors_described
from database.merging import merge
from database.refused_merges import refuse_merges
from database.routing import PendingEvent
from database.session import ReadSession, WriteSession
from database.shop_settings import shop_settings
from domain.customers import Profile, merge_profiles
from domain.identities import Identity, IdKind, Key, Naming, primary_user_id
from domain.identity_resolution import Brakes, Move, Refusal, Resolution, resolve
from domain.ids import new_id
from domain.lateness import open_since
from triggers.batch import BatchCustomer, BatchEvent
from triggers.double_prizes import end_double_prizes
from triggers.parting import take_earnings_along

REFUSED = Counter("perennial_merges_refused", "Merges of customers that were refused, by reason", ["reason"])


class ContendedError(Exception):
    """Another router has just taken in some of the same new ids: the events that name them wait for the next batch."""

    def __init__(self, keys: set[Key]) -> None:
        super().__init__(f"{len(keys)} new ids were taken in by another router")
        self.keys = keys


@dataclass(frozen=True, slots=True)
class Ground:
    """What is stored about the ids and the (locked) customers of some events."""

    known: Mapping[Key, Identity]
    states: Mapping[UUID, CustomerState]
    brakes: Brakes
    found: Resolution | None = None
    """Whose the events of the claim are, if it took all that it looked at."""

    def resolve(self, events: Iterable[Naming]) -> Resolution:
        """Whose the events are."""
        identified = frozenset(state.id for state in self.states.values() if state.external_id is not None)
        return resolve(events, self.known, identified, new_id, self.brakes)


@dataclass(frozen=True, slots=True)
class Identified:
    """A batch whose events all have their customers. `merged`, `moved`: the customers whose rows changed hands.

    `open_since`: from when on what was decided about customers is decided again, as they were joined or parted.
    `arrived`: ids that nobody had before, with whose they are.
    """

    events: list[BatchEvent]
    customers: Mapping[UUID, BatchCustomer]
    merged: frozenset[UUID]
    moved: frozenset[UUID]
    open_since: Mapping[UUID, datetime]
    moves: Sequence[Move]
    arrived: Mapping[Key, UUID]


async def brakes_for(session: ReadSession, namings: Iterable[Naming], known: Mapping[Key, Identity]) -> Brakes | None:
    """What limits the merges that these events ask for; None where there are none, as in most batches."""
    if not any(naming.joins for naming in namings):
        return None
    counts = await customers.user_id_counts(session, {each.customer_id for each in known.values()})
    return Brakes((await shop_settings(session)).merge_limit, counts)


async def identify(session: WriteSession, events: list[PendingEvent], ground: Ground, as_of: datetime) -> Identified:
    """Give each event its customer, making and merging customers where it must be. Raises ContendedError."""
    found = ground.found or ground.resolve(event.naming for event in events)
    created = _first_seen(events, found) if found.created else {}
    new = await _add(session, created, found, ground)
    working = {id_: BatchCustomer.of(state) for id_, state in ground.states.items()}
    working |= {id_: _new(id_, moment) for id_, moment in created.items()}
    doubted = [id_ for id_ in found.doubted & working.keys() if working[id_].profile.has_trusted]
    reopened = _reopened(events, found, as_of)
    gone = {each.loser: each.survivor for each in found.merges}
    for each in found.merges:
        since = reopened[_final(each.survivor, gone)]
        await end_double_prizes(session, each.loser, each.survivor, since, as_of)
        await merge(session, each.loser, each.survivor, as_of)
        working[each.survivor] = await _merged(session, working[each.survivor], working[each.loser])
    for move in found.moves:
        await move_history(session, move.anonymous_id, move.from_customer, move.to_customer)
        await take_earnings_along(session, move, reopened[move.from_customer], as_of)
    await _name(session, working, found)
    await _report(session, found.refusals, as_of)
    batch = []
    for event in events:
        whose = found.attributions[event.id]
        batch.append(
            BatchEvent(
                *(event, working[whose.customer_id], whose.identified, whose.identifies),
                link_trusted=whose.link_trusted,
                vouches=whose.vouches,
            )
        )
    return Identified(
        batch,
        customers=working,
        merged=frozenset(each.survivor for each in found.merges),
        moved=frozenset(id_ for move in found.moves for id_ in (move.from_customer, move.to_customer))
        | {_final(id_, gone) for id_ in doubted}
        | await whom_visitors_described(session, found.relinked),
        open_since=reopened,
        moves=found.moves,
        arrived={key: _final(id_, gone) for key, id_ in new.items()},
    )


def _reopened(events: Iterable[PendingEvent], found: Resolution, as_of: datetime) -> dict[UUID, datetime]:
    """The customers joined or parted here, each with the earliest moment from which on all is decided again."""
    since = {event.id: open_since(event.timestamp, as_of) for event in events}
    gone = {each.loser: each.survivor for each in found.merges}
    told = [(each.survivor, each.event_id) for each in found.merges]
    told += [(id_, move.event_id) for move in found.moves for id_ in (move.from_customer, move.to_customer)]
    told += [(whose.customer_id, event_id) for event_id, whose in found.attributions.items() if whose.vouches]
    reopened: dict[UUID, datetime] = {}
    for customer_id, event_id in told:
        id_ = _final(customer_id, gone)
        reopened[id_] = min(reopened.get(id_, since[event_id]), since[event_id])
    return reopened


async def _add(
    session: WriteSession, created: Mapping[UUID, datetime], found: Resolution, ground: Ground
) -> dict[Key, UUID]:
    """New customers, new ids, and what changed about known ids; answers whose the new ids are."""
    await customers.create(session, created)
    new = {key: found.identities[key] for key in found.changed if key not in ground.known}
    taken = await customers.add_ids(session, new)
    if taken:
        raise ContendedError(taken)
    await customers.change_ids(session, {key: found.identities[key] for key in found.changed if key in ground.known})
    return {key: each.customer_id for key, each in new.items()}


def _first_seen(events: list[PendingEvent], found: Resolution) -> dict[UUID, datetime]:
    """The new customers, with the time of the first event that is theirs in the end, else that concerned them."""
    concerned: dict[UUID, datetime] = {}
    own: dict[UUID, datetime] = {}
    for event in events:
        for id_ in found.involved[event.id] & found.created:
            concerned[id_] = min(concerned.get(id_, event.timestamp), event.timestamp)
        whose = found.attributions[event.id].customer_id
        if whose in found.created:
            own[whose] = min(own.get(whose, event.timestamp), event.timestamp)
    return concerned | own


def _new(id_: UUID, seen: datetime) -> BatchCustomer:
    return BatchCustomer(id_, None, Profile(), seen, seen, 0)


async def _merged(session: WriteSession, survivor: BatchCustomer, loser: BatchCustomer) -> BatchCustomer:
    """The survivor with the loser's profile folded in; `merge` has renumbered its events."""
    stored = (await customers.lock(session, [survivor.id], skip_locked=False))[survivor.id]
    survivor.profile = merge_profiles(survivor.profile, loser.profile)
    survivor.told = True
    survivor.last_number, survivor.is_restricted = stored.last_number, stored.is_restricted
    survivor.seen_at(loser.first_seen)
    survivor.seen_at(loser.last_seen)
    return survivor


async def _name(session: WriteSession, working: dict[UUID, BatchCustomer], found: Resolution) -> None:
    """The id that a customer goes by, where its user ids changed."""
    touched = {found.identities[key].customer_id for key in found.changed if key.kind is IdKind.USER}
    gone = {each.loser: each.survivor for each in found.merges}
    touched = {_final(id_, gone) for id_ in touched} | {each.survivor for each in found.merges}
    known = await customers.user_ids(session, touched) if touched else {}
    for id_, ids in known.items():
        working[id_].external_id = primary_user_id(ids)


async def _report(session: WriteSession, refusals: Sequence[Refusal], as_of: datetime) -> None:
    """Keep what was not merged, for people to look at."""
    for reason, count in (await refuse_merges(session, refusals, as_of)).items():
        REFUSED.labels(reason).inc(count)


def _final(id_: UUID, gone: Mapping[UUID, UUID]) -> UUID:
    while id_ in gone:
        id_ = gone[id_]
    return id_
