"""Consent as it is recorded: for a purpose on a channel, in a state, with the evidence of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

PURPOSE = r"^[a-z][a-z0-9_-]{0,62}$"
MARKETING = "marketing"
TRANSACTIONAL = "transactional"
TRIAL = "test"
"""Of tests of templates, which go to whom a marketer names and may show any customer's data."""
EVERY_CHANNEL = "all"
"""A record for every channel at once."""
CONSENT_GRANTED = "Consent Granted"
CONSENT_REQUESTED = "Consent Requested"
"""Somebody asked for messages and is to confirm it from their own mailbox: the first half of a double opt-in."""
CONSENT_WITHDRAWN = "Consent Withdrawn"


class ConsentState(StrEnum):
    """`pending` is a double opt-in that has not been confirmed yet; it permits nothing."""

    SUBSCRIBED = "subscribed"
    UNSUBSCRIBED = "unsubscribed"
    PENDING = "pending"


STATE_OF_EVENT: Final = {
    CONSENT_GRANTED: ConsentState.SUBSCRIBED,
    CONSENT_REQUESTED: ConsentState.PENDING,
    CONSENT_WITHDRAWN: ConsentState.UNSUBSCRIBED,
}


class ConsentSource(StrEnum):
    """Where a consent was given or withdrawn."""

    API = "api"
    IMPORT = "import"
    EVENT = "event"
    ONE_CLICK = "one-click"
    PREFERENCES = "preferences"
    COMPLAINT = "complaint"
    DOUBLE_OPT_IN = "double-opt-in"


@dataclass(frozen=True, slots=True)
class ConsentRecord:
    """One act of consent. `event_id` is the event that tells the same, so that it is never recorded twice."""

    customer_id: UUID
    purpose: str
    channel: str
    state: ConsentState
    at: datetime
    source: ConsentSource
    event_id: UUID
    evidence: Mapping[str, Any] = field(default_factory=dict)  # text version, ip, user agent, form


def consent_of_event(name: str, properties: Mapping[str, Any]) -> tuple[str, str, ConsentState] | None:
    """Purpose, channel and state that one of the events of `STATE_OF_EVENT` tells, or None for any other.

    `purpose` may be absent (marketing) and so may `channel` (email).
    """
    state = STATE_OF_EVENT.get(name)
    purpose, channel = properties.get("purpose", "marketing"), properties.get("channel", "email")
    if state is None or not isinstance(purpose, str) or not isinstance(channel, str):
        return None
    return purpose, channel, state


class Permission(StrEnum):
    """What the consent records say about sending for a purpose on a channel."""

    GIVEN = "given"
    NEVER_GIVEN = "never_given"
    WITHDRAWN = "withdrawn"
    COMPLAINED = "complained"


@dataclass(frozen=True, slots=True)
class StandingConsent:
    """A consent record as far as sending asks about it."""

    purpose: str
    channel: str
    state: str
    at: datetime
    source: str


def permission(
    records: Iterable[StandingConsent], purpose: str, channel: str, defaults: Mapping[str, ConsentState]
) -> Permission:
    """Whether a message for `purpose` may be sent; `defaults` is the shop's word for who never said anything.

    Transactional messages need no consent. A topic without a record of its own goes by the record for marketing, and
    whoever withdrew marketing altogether gets no topic either, except one that was subscribed to later.
    """
    if purpose == TRANSACTIONAL:
        return Permission.GIVEN
    fitting = [record for record in records if record.channel in (channel, EVERY_CHANNEL)]
    own, general = _latest(fitting, purpose), _latest(fitting, MARKETING)
    if general is not None and general.state == ConsentState.UNSUBSCRIBED and (own is None or own.at <= general.at):
        return _refused(general)
    decisive = own or general
    if decisive is None:
        default = defaults.get(purpose, defaults.get(MARKETING, ConsentState.UNSUBSCRIBED))
        return Permission.GIVEN if default == ConsentState.SUBSCRIBED else Permission.NEVER_GIVEN
    if decisive.state == ConsentState.UNSUBSCRIBED:
        return _refused(decisive)
    return Permission.GIVEN if decisive.state == ConsentState.SUBSCRIBED else Permission.NEVER_GIVEN


def _latest(records: Iterable[StandingConsent], purpose: str) -> StandingConsent | None:
    return max((record for record in records if record.purpose == purpose), key=lambda record: record.at, default=None)


def _refused(record: StandingConsent) -> Permission:
    return Permission.COMPLAINED if record.source == ConsentSource.COMPLAINT else Permission.WITHDRAWN
