"""A redemption: one reward that one customer got, for points or for nothing, and how it comes to its end.

Asking and reserving are one transaction, so nobody ever sees a redemption that is only asked for:

    reserved ── issued ── fulfilled
        └───────────┴──── cancelled | expired

Reserved holds the points, issued has spent them. What ends before it is issued gives everything back; what lapses
after it was issued is forfeited; what is cancelled gives everything back, but a code that was shown is void for good.
It is shown when the redemption is issued, or delivered where the shop's systems deliver it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Literal
from uuid import UUID

from domain.rewards import Reason
from domain.runs import Wire

RESERVED_FOR: Final = timedelta(minutes=15)
"""How long points and stock stay reserved for a redemption that is not issued, Temporal being away."""


class RedemptionState(StrEnum):
    """Where a redemption stands; the last three are ends."""

    RESERVED = "reserved"
    ISSUED = "issued"
    FULFILLED = "fulfilled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def is_open(self) -> bool:
        """Whether anything can still become of it."""
        return self in (RedemptionState.RESERVED, RedemptionState.ISSUED)


class Canceller(StrEnum):
    """Who cancels: points go back as they were (by a customer), or with time to use them (by the shop, a failure)."""

    CUSTOMER = "customer"
    SHOP = "shop"
    FAILURE = "failure"


class Refused(StrEnum):
    """Why a redemption does not change. The values are codes of the API."""

    ENDED = "redemption_ended"
    EXPIRED = "redemption_expired"
    BEING_FULFILLED = "fulfilment_under_way"
    COUPON_USED = "coupon_used"
    PRICE_CHANGED = "price_changed"


@dataclass(frozen=True, slots=True)
class Given:
    """A reward that is the customer's. `repeated`: the key had given it before."""

    redemption_id: UUID
    reward: str
    state: RedemptionState
    code: str | None
    expires_at: datetime | None
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class NotGiven:
    """Nothing was given, and why; `UNKNOWN_REWARD` when there is no such reward."""

    reason: Reason | Literal["reward_not_found"]


UNKNOWN_REWARD: Final = "reward_not_found"


class Review(StrEnum):
    """Why a person has to say whether the shop has delivered."""

    NO_ANSWER = "no_answer"  # tried for as long as the reward says
    REFUSED_AFTER_DOUBT = "refused_after_doubt"  # an earlier attempt may have been taken


# What the workflow and its activities say to each other: ids and times ------------------------------------


class RedemptionInput(Wire):
    """Which redemption to bring to its end."""

    redemption_id: UUID


class RedemptionStep(Wire):
    """A step of it that decides by the time."""

    redemption_id: UUID
    as_of: datetime


class Standing(Wire):
    """Where it stands after a step."""

    state: RedemptionState
    review: bool = False


class Answer(StrEnum):
    """What the shop said to the fulfilment webhook."""

    DELIVERED = "delivered"
    LATER = "later"  # 202: it calls /fulfil when it has delivered
    REFUSED = "refused"
    DOUBTFUL = "doubtful"  # refused, but an earlier attempt may have been taken
    NO_ANSWER = "no_answer"
    OVER = "over"  # it ended meanwhile


class Answered(Wire):
    """The shop's last word; `reason` is `http_422` or the like."""

    answer: Answer
    reason: str | None = None


class Conclusion(RedemptionStep):
    """What the shop's last word leads to."""

    answered: Answered
