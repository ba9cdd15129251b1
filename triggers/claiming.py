"""Claiming customers: whose pending events a router takes, so that no two routers ever hold one customer.

Customers are claimed, not events. Which customers the oldest pending events are of is looked up first, then their
rows are locked (whom somebody else holds is left for later), then all is read again, for only now does it stand still.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from database import customers, routing
from database.customers import CustomerState
from database.routing import PendingEvent, Window
from database.session import WriteSession
from domain.identities import Identity, Key, Naming, subject_of
from domain.identity_resolution import Brakes, Resolution
from triggers.erased_ids import drop_what_was_erased
from triggers.identity import Ground, brakes_for

MOST_LOOKS = 4
"""How many windows a router looks through for customers whom no other router holds."""

MOST_DECISIVE = 20
"""Each event that may start a run has a wave of its own. Further ones of the same people wait for the next batch, so
that one busy customer delays the others little."""

MayStart = Callable[[PendingEvent], bool]
"""Whether an event, by its name and kind, may start a run."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Events to route now. `groups`: those that must be routed together, for their ids belong together."""

    groups: Sequence[Sequence[PendingEvent]]
    ground: Ground


def in_order(groups: Iterable[Sequence[PendingEvent]]) -> list[PendingEvent]:
    """The events of groups, in the order of receipt."""
    events = [event for group in groups for event in group]
    return sorted(events, key=lambda event: (event.received_at, event.id))


async def claim(session: WriteSession, window: Window, may_start: MayStart, as_of: datetime) -> Claim:
    """Lock the customers of the pending events that `window` looks at; where too many are held, look further."""
    claimer = _Claimer(session, may_start, as_of)
    for _ in range(MOST_LOOKS):
        await claimer.look(window.namings)
        if not window.is_full or 2 * claimer.taken >= window.limit:
            break
        window = await routing.window_after(session, as_of, window, claimer.busy)
    return Claim(claimer.groups, Ground(claimer.known, claimer.states, claimer.brakes, claimer.found))


async def ground_of(session: WriteSession, events: Sequence[PendingEvent]) -> Ground:
    """What is stored about the ids and customers of events whose customers this transaction has locked already."""
    known = await customers.known_ids(session, {key for event in events for key in event.naming.keys})
    states = await customers.lock(session, {each.customer_id for each in known.values()})
    brakes = await brakes_for(session, [event.naming for event in events], known)
    return Ground(known, states, brakes or Brakes())


def _grouped(window: Sequence[Naming], found: Resolution) -> list[list[Naming]]:
    """Events that read or change the same customers, or name the same new ids, stand together."""
    leader: dict[UUID, UUID] = {}

    def lead(customer: UUID) -> UUID:
        while (above := leader.setdefault(customer, customer)) != customer:
            leader[customer] = customer = leader[above]
        return customer

    for naming in window:
        first, *others = found.involved[naming.event_id]
        for other in others:
            leader[lead(other)] = lead(first)
    groups: dict[UUID, list[Naming]] = {}
    for naming in window:
        groups.setdefault(lead(next(iter(found.involved[naming.event_id]))), []).append(naming)
    return list(groups.values())


class _Claimer:
    """Gathers what can be claimed, window by window. Whom it left once it leaves for good: events keep their order."""

    def __init__(self, session: WriteSession, may_start: MayStart, as_of: datetime) -> None:
        self.groups: list[list[PendingEvent]] = []
        self.known: dict[Key, Identity] = {}
        self.states: dict[UUID, CustomerState] = {}
        self.brakes = Brakes()
        self.found: Resolution | None = None
        self.taken = 0
        self._session = session
        self._may_start = may_start
        self._as_of = as_of
        self._left: set[UUID | Key] = set()

    @property
    def busy(self) -> set[str]:
        """The subjects of events of those who are left for a later batch."""
        return {subject_of(each) for each in self._left if isinstance(each, Key)}

    async def look(self, window: Sequence[Naming]) -> None:
        """Lock whom these events concern, read all again, and keep the groups that we hold whole. Who is erased is
        asked under the locks, which an erasure takes as well: an alias that races it brings nobody back."""
        keys = {key for naming in window for key in naming.keys}
        self.states |= await customers.lock_named(self._session, keys)
        window = await drop_what_was_erased(self._session, window)
        self.known |= await customers.known_ids(self._session, keys)
        ids = [each.event_id for each in window]
        pending = {event.id: event for event in await routing.still_pending(self._session, ids)}
        namings = [event.naming for event in pending.values()]
        self.brakes = await brakes_for(self._session, namings, self.known) or self.brakes
        found = Ground(self.known, self.states, self.brakes).resolve(namings)
        is_first = not self.groups and not self._left
        for group in _grouped(namings, found):
            await self._take([pending[naming.event_id] for naming in group], found)
        self.found = found if is_first and self.taken == len(namings) else None

    async def _take(self, events: list[PendingEvent], found: Resolution) -> None:
        concerned = frozenset().union(*(found.involved[event.id] for event in events)) - found.created
        if not concerned <= self.states.keys() or (
            self._left and not self._left.isdisjoint(_touched(events, concerned))
        ):
            self._left |= _touched(events, concerned)
        elif not await self._stands_behind(events, concerned):
            leading = _leading(events, lambda each: found.attributions[each.id].identifies or self._may_start(each))
            self.groups.append(leading)
            self.taken += len(leading)
            if len(leading) < len(events):
                self._left |= _touched(events, concerned)

    async def _stands_behind(self, events: Sequence[PendingEvent], concerned: frozenset[UUID]) -> bool:
        """Whether one of the customers waits for a failed event of its own; then these events wait with it."""
        times = [self.states[id_].held_until for id_ in concerned]
        holds = [until for until in times if until is not None and until > self._as_of]
        if not holds:
            return False
        await routing.stand_behind(self._session, [event.id for event in events], max(holds))
        return True


def _touched(events: Sequence[PendingEvent], concerned: frozenset[UUID]) -> frozenset[UUID | Key]:
    """The customers and ids that nobody may go before who is left for later."""
    return concerned | {key for event in events for key in event.naming.keys}


def _leading(events: Sequence[PendingEvent], is_decisive: MayStart) -> list[PendingEvent]:
    """The first events, with at most so many decisive ones among them."""
    decisive = 0
    for position, event in enumerate(events):
        decisive += is_decisive(event)
        if decisive > MOST_DECISIVE:
            return list(events[:position])
    return list(events)
