"""Suppressions: why an address gets no mail, what that covers, for how long, and what lifts it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from domain.consent import TRANSACTIONAL, Addressee, ConsentState, StandingConsent


class Cause(StrEnum):
    """The class of a suppression; where several stand, the first of these is the reason that a message shows."""

    COMPLAINT = "complaint"  # its reader reported our mail as spam
    HARD_BOUNCE = "hard_bounce"  # it does not exist
    MAILBOX = "mailbox"  # it takes nothing for now: full, switched off
    MANUAL = "manual"  # somebody of the shop said so
    OBJECTION = "objection"  # its owner objected to marketing, customer or not
    WITHDRAWN = "withdrawn"  # a person who was erased since had taken consent back for it
    ERASED = "erased"  # its owner was erased


MARKETING_ONLY: Final = frozenset({Cause.OBJECTION, Cause.WITHDRAWN, Cause.ERASED})
"""What is owed to customers (order mails) still goes to such an address."""
LIFTED_BY_CONSENT: Final = frozenset({Cause.WITHDRAWN, Cause.ERASED})
"""Whoever comes back and consents, for this very address and later, is written to again."""
LASTS: Final[Mapping[str, timedelta]] = {Cause.MAILBOX: timedelta(days=14)}
"""The others stand until somebody releases them."""


@dataclass(frozen=True, slots=True)
class Suppressed:
    """A suppression of an address that stands now."""

    cause: str  # of a release to come, if it is no Cause: it covers everything
    at: datetime


def cause_against(
    found: Iterable[Suppressed], purpose: str, consents: Iterable[StandingConsent], to: Addressee
) -> str | None:
    """Why a message for `purpose` may not go to an address, or None. `found`: the address's own suppressions."""
    known = [cause.value for cause in Cause]
    consents = list(consents)
    causes = {each.cause for each in found if covers(each.cause, purpose) and not _is_lifted(each, consents, to)}
    return min(causes, key=lambda cause: known.index(cause) if cause in known else -1, default=None)


def covers(cause: str, purpose: str) -> bool:
    """Whether a suppression of that class keeps messages for `purpose` back."""
    return purpose != TRANSACTIONAL or cause not in MARKETING_ONLY


def _is_lifted(suppressed: Suppressed, consents: Iterable[StandingConsent], to: Addressee) -> bool:
    """A statement of standing is no act, so it lifts nothing."""
    return suppressed.cause in LIFTED_BY_CONSENT and any(
        consent.state == ConsentState.SUBSCRIBED
        and not consent.is_statement
        and consent.at > suppressed.at
        and consent.address is not None
        and consent.address == to.address
        for consent in consents
    )
