"""Consent as it is recorded: for a purpose on a channel, in a state, with the evidence of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

PURPOSE = r"^[a-z][a-z0-9_-]{0,62}$"
CONSENT_GRANTED = "Consent Granted"
CONSENT_WITHDRAWN = "Consent Withdrawn"


class ConsentState(StrEnum):
    """`pending` is a double opt-in that has not been confirmed yet; it permits nothing."""

    SUBSCRIBED = "subscribed"
    UNSUBSCRIBED = "unsubscribed"
    PENDING = "pending"


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
    """Purpose, channel and state that a `Consent Granted` or `Consent Withdrawn` event tells, or None for any other.

    `purpose` may be absent (marketing) and so may `channel` (email).
    """
    state = {CONSENT_GRANTED: ConsentState.SUBSCRIBED, CONSENT_WITHDRAWN: ConsentState.UNSUBSCRIBED}.get(name)
    purpose, channel = properties.get("purpose", "marketing"), properties.get("channel", "email")
    if state is None or not isinstance(purpose, str) or not isinstance(channel, str):
        return None
    return purpose, channel, state
