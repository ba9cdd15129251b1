"""The values of a simulation: what was recorded about a customer, what a simulated run did, and the sum of it all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from domain.carts import CART_EVENTS, Cart, fold_carts
from domain.commerce import CommerceEvent
from domain.conditions.history import History, PastConsent, PastEvent, PastMessage
from domain.conditions.scope import Scope
from domain.consent import Addressee, StandingConsent
from domain.funnels import StepCounts
from domain.identities import Stamp
from domain.journeys.deadlines import Zones
from domain.journeys.waiting import Happening
from domain.local_time import resolve_zone
from domain.messages import Sent
from domain.runs import RunState
from domain.shop_settings import ShopSettings
from domain.simulated_points import RecordedLoyalty, SimulatedPoints
from domain.suppressions import Suppressed

SAMPLES = 10


@dataclass(frozen=True, slots=True)
class RecordedCustomer:
    """One customer as recorded: everything routed about them, the traits as they are now."""

    id: UUID
    external_id: str
    traits: Mapping[str, Any]  # any JSON object
    trusted_traits: Mapping[str, Any]  # those that no browser told
    zone: str | None
    trusted_zone: str | None
    address: str | None
    addressee: Addressee
    suppressions: Sequence[Suppressed]
    events: Sequence[Happening]
    consents: Sequence[StandingConsent]
    messages: Sequence[PastMessage]
    sent: Sequence[Sent]
    trusted_since: datetime | None = None  # the first event, of whatever name, that a trusted source told of
    loyalty: RecordedLoyalty | None = None  # None: no programme is live, or nothing asks for points or tiers


@dataclass(slots=True)
class SimulatedCustomer:
    """A customer at the moment of the virtual clock: only what had happened by then counts."""

    record: RecordedCustomer
    settings: ShopSettings
    past: list[PastEvent] = field(default_factory=list)
    last_number: int = 0
    carts: dict[str, Cart] = field(default_factory=dict)
    browser_carts: bool = False
    points: SimulatedPoints | None = field(init=False)

    def __post_init__(self) -> None:
        """The account stands as it was recorded."""
        self.points = SimulatedPoints(self.record.loyalty) if self.record.loyalty else None

    @property
    def id(self) -> UUID:
        """Our own id."""
        return self.record.id

    @property
    def traits(self) -> Mapping[str, Any]:  # any JSON object
        """As they are now: that is one of a simulation's assumptions."""
        return self.record.traits

    @property
    def zone(self) -> ZoneInfo:
        """The customer's zone, else the shop's."""
        return resolve_zone(self.record.zone, self.settings.zone)

    @property
    def zones(self) -> Zones:
        """For waits."""
        return Zones(self.record.zone, self.settings.zone)

    def scope(
        self, as_of: datetime, entry: Mapping[str, Any] | None = None, *, trusted: bool = False
    ) -> Scope:  # any JSON object
        """What conditions and predicates are judged against, by all that is known or by what trusted sources told."""
        record = self.record
        traits, told = (record.trusted_traits, record.trusted_zone) if trusted else (record.traits, record.zone)
        zone = resolve_zone(told, self.settings.zone)
        return Scope(as_of=as_of, zone=zone, entry=entry, customer={"id": record.external_id, "traits": traits})

    def is_known_by(self, moment: datetime) -> bool:
        """Whether anything but browsers had told of the customer by then."""
        since = self.record.trusted_since
        return since is not None and since <= moment

    def consents_by(self, moment: datetime) -> list[StandingConsent]:
        """The consent records that had been made by then."""
        return [consent for consent in self.record.consents if consent.at <= moment]

    def saw(self, event: Happening) -> None:
        """An event has happened."""
        self.last_number = max(self.last_number, event.number)
        self.past.append(
            PastEvent(
                name=event.name,
                timestamp=event.timestamp,
                number=event.number,
                properties=event.properties,
                trusted=event.trusted,
            )
        )
        if event.name in CART_EVENTS:
            stamp = Stamp(event.timestamp, event.received_at, event.event_id)
            told = CommerceEvent(event.event_id, event.name, self.id, stamp, event.properties, event.trusted)
            self.carts |= fold_carts(self.carts, told, self.settings)
            self.browser_carts |= not event.trusted

    def history(self, variants: Mapping[str, str], entered_at: datetime, entry_number: int, as_of: datetime) -> History:
        """What conditions ask about, for a run."""
        return History(
            customer_id=self.id,
            events=self.past,
            messages=self.record.messages,
            consents=[
                PastConsent(each.purpose, each.channel, each.state, each.at)
                for each in self.record.consents
                if each.counts
            ],
            consent_defaults=self.settings.consent_defaults,
            variants=variants,
            entered_at=entered_at,
            entry_number=entry_number,
            loyalty=self.points.at(as_of) if self.points else None,
            carts=list(self.carts.values()),
            browser_carts=self.browser_carts,
            currency=self.settings.currency,
        )


@dataclass(frozen=True, slots=True)
class LoggedStep:
    """One entry of a simulated run's log."""

    step: str
    kind: str
    visit: int
    reached_at: datetime
    at: datetime | None
    outcome: str
    reason: str | None

    def cancelled(self) -> LoggedStep:
        """The run was over before the step was."""
        return replace(self, outcome="cancelled")


@dataclass(frozen=True, slots=True)
class SampleRun:
    """One simulated run to read."""

    customer_id: str
    entered_at: datetime
    ended_at: datetime | None
    state: RunState
    reason: str | None
    holdout: bool
    trusted: bool
    steps: Sequence[LoggedStep]


@dataclass(slots=True)
class Costs:
    """What runs gave and took; `rewards` by key. The holdout's runs cost nothing."""

    points_awarded: int = 0
    points_deducted: int = 0
    rewards: dict[str, int] = field(default_factory=dict)

    def __iadd__(self, other: Costs) -> Costs:
        """Sum up."""
        self.points_awarded += other.points_awarded
        self.points_deducted += other.points_deducted
        for key, count in other.rewards.items():
            self.rewards[key] = self.rewards.get(key, 0) + count
        return self


@dataclass(slots=True)
class SimulationResult:
    """The sum of a simulation."""

    entered: int = 0
    untrusted: int = 0  # of those that entered: browsers led them on
    holdout: int = 0
    active: int = 0
    completed: int = 0
    failed: int = 0
    exited: dict[str, int] = field(default_factory=dict)
    converted: int = 0
    kept_out: dict[str, int] = field(default_factory=dict)
    steps: dict[str, StepCounts] = field(default_factory=dict)
    messages: dict[date, int] = field(default_factory=dict)
    costs: Costs = field(default_factory=Costs)
    gate: dict[str, int] = field(default_factory=dict)
    samples: list[SampleRun] = field(default_factory=list)


__all__ = [
    "SAMPLES",
    "Costs",
    "LoggedStep",
    "RecordedCustomer",
    "SampleRun",
    "SimulatedCustomer",
    "SimulationResult",
]
