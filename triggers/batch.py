"""The working copies of one batch: its customers as they change, its events in order, the waves they are taken in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from database.customers import CustomerState, ProfileWrite
from database.programmes import LiveProgramme
from database.routing import PendingEvent
from database.session import WriteSession
from database.watches import WatchedRun
from domain.customers import Profile
from domain.journeys.waiting import Happening
from domain.local_time import resolve_zone
from domain.shop_settings import ShopSettings
from triggers.live import JourneyVersion, Live, LiveJourneys


@dataclass(slots=True)
class BatchCustomer:
    """One customer of the batch, locked, as the events so far have left it."""

    id: UUID
    external_id: str | None
    profile: Profile
    first_seen: datetime
    last_seen: datetime
    last_number: int
    told: bool = False  # an event told something about the profile since it was last written
    runs: list[WatchedRun] = field(default_factory=list)
    is_restricted: bool = False  # the person has asked for restriction of processing: no run begins
    is_joined: bool = False  # records of somebody else have come to it, and its consents are not settled yet

    @classmethod
    def of(cls, state: CustomerState) -> BatchCustomer:
        """A working copy of what is stored."""
        return cls(
            *(state.id, state.external_id, state.profile, state.first_seen, state.last_seen, state.last_number),
            is_restricted=state.is_restricted,
        )

    def seen_at(self, moment: datetime) -> None:
        """Somebody did something then."""
        self.first_seen, self.last_seen = min(self.first_seen, moment), max(self.last_seen, moment)

    def write(self) -> ProfileWrite:
        """What is to be stored now."""
        profile = self.profile if self.told else None
        return ProfileWrite(
            *(self.id, self.external_id, self.first_seen, self.last_seen, self.last_number), profile=profile
        )

    def facts(self) -> dict[str, Any]:
        """The customer as predicates refer to it."""
        return {"id": self.external_id, "traits": self.profile.traits}

    def trusted_facts(self) -> dict[str, Any]:
        """The same where value is decided: what a browser told is not there."""
        return {"id": self.external_id, "traits": self.profile.trusted_traits}


@dataclass(slots=True)
class BatchEvent:
    """One event on its way through the reactions."""

    event: PendingEvent
    customer: BatchCustomer
    identified: bool  # whether we know who it is
    identifies: bool  # this event tells who the anonymous visitor was
    link_trusted: bool = True  # false: only a browser says that this anonymous event is the customer's
    vouches: bool = False  # a trusted source says here for the first time who the anonymous visitor was
    number: int = 0
    changed_traits: Mapping[str, Any] | None = None
    ignored_untrusted: list[str] | None = None
    zone_changed: bool = False

    @property
    def is_history(self) -> bool:
        """Imported: it happened long ago, whenever it came in."""
        return self.event.is_history

    @property
    def may_enter(self) -> bool:
        """Whether it may start journeys: imported history does only where the import asks for that."""
        return self.event.enters or not self.is_history

    @property
    def counts_for_value(self) -> bool:
        """Whether it may award anything: a trusted source says what was done, and that this customer did it."""
        return self.event.trusted and self.link_trusted

    @property
    def is_own(self) -> bool:
        """Whether the product itself recorded it."""
        return self.event.own

    def happening(self) -> Happening:
        """The event as runs see it."""
        event = self.event
        return Happening(
            event_id=event.id,
            number=self.number,
            own=event.own,
            name=event.name,
            properties=event.properties,
            changed_traits=self.changed_traits,
            timestamp=event.timestamp,
            received_at=event.received_at,
            trusted=self.counts_for_value,
        )


@dataclass(frozen=True, slots=True)
class Wave:
    """What the reactions get: some events of the batch, in order for each customer.

    An event that decides something by the customer's state (traits, points, ...) is the last of its customer here.
    """

    session: WriteSession
    as_of: datetime
    published: Live
    versions: Mapping[tuple[str, int], JourneyVersion]  # those of the customers' runs and the live ones
    events: Sequence[BatchEvent]
    others: Sequence[BatchCustomer] = ()  # locked too, because something of theirs has passed to another or from one

    @property
    def shop(self) -> ShopSettings:
        """The shop's settings."""
        return self.published.shop

    @property
    def live(self) -> LiveJourneys:
        """The journeys that are live or paused."""
        return self.published.journeys

    @property
    def programmes(self) -> Sequence[LiveProgramme]:
        """The versions of the live loyalty programme, the oldest first."""
        return self.published.programmes

    @property
    def programme(self) -> LiveProgramme | None:
        """The loyalty programme that counts now."""
        return self.programmes[-1] if self.programmes else None

    def customers(self) -> list[BatchCustomer]:
        """The customers of the wave, each once."""
        named = [*(event.customer for event in self.events), *self.others]
        return list({customer.id: customer for customer in named}.values())

    def zone_of(self, customer: BatchCustomer) -> ZoneInfo:
        """The customer's zone, else the shop's."""
        return resolve_zone(customer.profile.zone, self.shop.zone)

    def ground_of(self, customer: BatchCustomer, *, trusted: bool) -> tuple[ZoneInfo, dict[str, Any]]:
        """The zone and the facts that predicates about this customer are judged by."""
        if trusted:
            return self.trusted_zone_of(customer), customer.trusted_facts()
        return self.zone_of(customer), customer.facts()

    def trusted_zone_of(self, customer: BatchCustomer) -> ZoneInfo:
        """The zone where value is decided: a device's word does not count."""
        return resolve_zone(customer.profile.trusted_zone, self.shop.zone)


IsDecisive = Callable[[BatchEvent], bool]


def waves(events: Sequence[BatchEvent], is_decisive: IsDecisive) -> Iterator[list[BatchEvent]]:
    """Cut a batch: each wave takes a customer's events up to and including the first that is decisive."""
    by_customer: dict[UUID, list[BatchEvent]] = {}
    for event in reversed(events):
        by_customer.setdefault(event.customer.id, []).append(event)
    queues = list(by_customer.values())
    while queues:
        yield [event for queue in queues for event in _leading(queue, is_decisive)]
        queues = [queue for queue in queues if queue]


def _leading(queue: list[BatchEvent], is_decisive: IsDecisive) -> Iterator[BatchEvent]:
    while queue:
        event = queue.pop()
        yield event
        if is_decisive(event):
            return
