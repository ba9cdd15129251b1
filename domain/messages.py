"""The send gate and the life of a message: pure decisions, each a value with its reason.

What providers answer is domain/provider_answers.py; who opened and clicked is domain/engagement.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from domain.consent import TRANSACTIONAL, Permission
from domain.durations import parse_duration
from domain.local_time import local_instant, quiet_until
from domain.shop_settings import FrequencyCap, ShopSettings

ADDRESS = r"[^\s\x00-\x1f\x7f@<>,;:\"()\[\]\\]+@[^\s\x00-\x1f\x7f@<>,;]+"
"""What can stand in a To header as one address; whether it exists only its server knows."""


class MessageState(StrEnum):
    """`attempting` is committed before the provider is called, `accepted` after; a crash between leaves `unknown`."""

    PLANNED = "planned"  # held by quiet hours
    CLAIMED = "claimed"  # passed the gate, counts towards caps
    ATTEMPTING = "attempting"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNKNOWN = "unknown"  # perhaps accepted; settled by the provider's webhook or by policy, never by blind re-sending
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


RESERVED = (
    MessageState.CLAIMED,
    MessageState.ATTEMPTING,
    MessageState.ACCEPTED,
    MessageState.UNKNOWN,
    MessageState.DELIVERED,
    MessageState.BOUNCED,
)
"""States that count towards frequency caps: the message has left or may leave."""


class Reason(StrEnum):
    """Why a message was not sent, or not now."""

    ERASED = "erased"
    CHANNEL_UNAVAILABLE = "channel_unavailable"
    NO_ADDRESS = "no_address"
    COMPLAINT = "complaint"
    UNSUBSCRIBED = "unsubscribed"
    NO_CONSENT = "no_consent"
    ADDRESS_UNCONFIRMED = "address_unconfirmed"
    HARD_BOUNCE = "hard_bounce"
    SUPPRESSED = "suppressed"
    NOT_AFTER = "not_after"
    FREQUENCY_CAP = "frequency_cap"
    OPT_IN_LIMIT = "opt_in_limit"
    UNCONFIRMED_LIMIT = "unconfirmed_limit"
    QUIET_HOURS = "quiet_hours"
    RUN_ENDED = "run_ended"
    SILENCED = "silenced"
    TEMPLATE_MISSING = "template_missing"


ATTEMPT_LOST = "attempt_lost"
"""Why a message is `unknown` whose process died between the provider's call and its answer."""

LONGEST_TRY = timedelta(hours=72)
"""How long a message without `not_after` is tried again after its claim."""


@dataclass(frozen=True, slots=True)
class Send:
    """It may leave now."""


@dataclass(frozen=True, slots=True)
class Hold:
    """It may leave at `until`, if the gate agrees again then."""

    until: datetime
    reason: Reason = Reason.QUIET_HOURS
    rule: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Skip:
    """It will not leave; `rule` is the setting that said so, where there is one."""

    reason: Reason
    rule: Mapping[str, object] = field(default_factory=dict)


Decision = Send | Hold | Skip


@dataclass(frozen=True, slots=True)
class Sent:
    """A message to the same person that counts towards caps."""

    at: datetime
    channel: str
    purpose: str
    trusted: bool = True  # its run was, when it was claimed


@dataclass(frozen=True, slots=True)
class Candidate:
    """All that the gate asks about one message, read in the claim's transaction under the customer's lock."""

    channel: str
    purpose: str
    address: str | None
    zone: ZoneInfo
    permission: Permission
    suppression: str | None = None  # domain.suppressions.Cause
    is_erased: bool = False
    is_available: bool = True  # the channel is set up
    is_confirmed: bool = True  # the address is confirmed, or the message worth nothing
    is_silenced: bool = False  # a browser told of an exit from its run, which goes on and has given nothing yet
    not_after: datetime | None = None
    is_trusted: bool = True  # its run is: what browsers had sent takes no place of it under a cap
    sent: Sequence[Sent] = ()

    @property
    def is_transactional(self) -> bool:
        """Whether the customer is owed this message: no consent needed, no cap, no quiet hours, first in line."""
        return self.purpose == TRANSACTIONAL


def decide(candidate: Candidate, settings: ShopSettings, as_of: datetime) -> Decision:
    """The gate, in this order: erasure, channel, address, consent, confirmation, bounce, freshness, caps, silence,
    quiet.
    """
    decision = _decide(candidate, settings, as_of)
    return Skip(Reason.SILENCED) if candidate.is_silenced and not isinstance(decision, Skip) else decision


def _decide(candidate: Candidate, settings: ShopSettings, as_of: datetime) -> Decision:
    refusal = _refusal(candidate, settings, as_of)
    if refusal is not None:
        return Skip(refusal)
    if candidate.is_transactional:
        return Send()
    for cap in settings.frequency_caps:
        if _applies(cap, candidate) and _used(cap, candidate, as_of) >= cap.at_most:
            return Skip(Reason.FREQUENCY_CAP, cap.model_dump(mode="json", exclude_none=True))
    return _quiet(candidate, settings, as_of)


def cap_horizon(settings: ShopSettings, as_of: datetime) -> datetime:
    """The earliest time that any cap looks back to."""
    windows = [_longest(cap) for cap in settings.frequency_caps]
    return as_of - max(windows, default=timedelta())


def window_start(per: str, as_of: datetime, zone: ZoneInfo) -> datetime:
    """Where the window of a cap begins: `day`, `week` and `month` by the customer's calendar, durations rolling."""
    if per not in CALENDAR_WINDOWS:
        return parse_duration(per).before(as_of.astimezone(zone))
    today = as_of.astimezone(zone).date()
    first = {"day": today, "week": today - timedelta(days=today.weekday()), "month": today.replace(day=1)}[per]
    return local_instant(first, time(), zone)


CALENDAR_WINDOWS = {"day": timedelta(days=2), "week": timedelta(days=8), "month": timedelta(days=32)}
"""Calendar windows and a length that each surely lies within, changes of the clocks included."""


def _refusal(candidate: Candidate, settings: ShopSettings, as_of: datetime) -> Reason | None:
    permission, suppression = candidate.permission, candidate.suppression
    checks = (
        (candidate.is_erased or suppression == "erased", Reason.ERASED),
        (not candidate.is_available, Reason.CHANNEL_UNAVAILABLE),
        (candidate.address is None, Reason.NO_ADDRESS),
        (suppression == "complaint" or permission is Permission.COMPLAINED, Reason.COMPLAINT),
        (suppression == "withdrawn" or permission is Permission.WITHDRAWN, Reason.UNSUBSCRIBED),
        (permission is Permission.NEVER_GIVEN, Reason.NO_CONSENT),
        (not candidate.is_confirmed and settings.unconfirmed != "all", Reason.ADDRESS_UNCONFIRMED),
        (suppression == "hard_bounce", Reason.HARD_BOUNCE),
        (suppression is not None, Reason.SUPPRESSED),
        (candidate.not_after is not None and as_of > candidate.not_after, Reason.NOT_AFTER),
    )
    return next((reason for applies, reason in checks if applies), None)


def _applies(cap: FrequencyCap, candidate: Candidate) -> bool:
    return cap.channel == candidate.channel and cap.purpose in (None, candidate.purpose)


def _used(cap: FrequencyCap, candidate: Candidate, as_of: datetime) -> int:
    start = window_start(cap.per, as_of, candidate.zone)
    return sum(
        earlier.at > start - timedelta(microseconds=cap.per in CALENDAR_WINDOWS)
        and earlier.channel == cap.channel
        and earlier.purpose != TRANSACTIONAL
        and cap.purpose in (None, earlier.purpose)
        and (earlier.trusted or not candidate.is_trusted)
        for earlier in candidate.sent
    )


def _quiet(candidate: Candidate, settings: ShopSettings, as_of: datetime) -> Decision:
    quiet = settings.quiet_hours
    if quiet is None:
        return Send()
    until = quiet_until(as_of, time.fromisoformat(quiet.from_), time.fromisoformat(quiet.to), candidate.zone)
    if until is None:
        return Send()
    rule = {"from": quiet.from_, "to": quiet.to, "zone": candidate.zone.key}
    if candidate.not_after is not None and until > candidate.not_after:
        return Skip(Reason.NOT_AFTER, rule)
    return Hold(until, Reason.QUIET_HOURS, rule)


def _longest(cap: FrequencyCap) -> timedelta:
    """Calendar months follow the customer's clock, so a change of it may make one an hour longer."""
    if cap.per in CALENDAR_WINDOWS:
        return CALENDAR_WINDOWS[cap.per]
    return parse_duration(cap.per).longest() + timedelta(days=1)


def deliverable_address(traits: Mapping[str, object]) -> str | None:
    """The e-mail address among a customer's traits, if mail can be sent to it at all."""
    address = traits.get("email")
    if not isinstance(address, str):
        return None
    address = address.strip()
    return address if re.fullmatch(ADDRESS, address) and len(address) <= 254 else None
