"""Referrals: codes, states, who may be whose friend, and what a refund does. Values in, values out.

`invited -> clicked -> claimed -> qualified -> held -> rewarded`, with the ends rejected, expired and revoked, and
`under_review` beside `claimed` until a person decides. How claims are scored is domain/referral_signals.py.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from math import isfinite
from typing import Any, Final
from uuid import UUID

from domain.mailboxes import mailbox
from domain.money import digits_of
from domain.phones import is_same_phone
from domain.refunds import GivenBack


class ReferralState(StrEnum):
    """Where a friend stands. `invited` and `clicked` have no friend yet, only a link that somebody was given."""

    INVITED = "invited"
    CLICKED = "clicked"
    CLAIMED = "claimed"
    UNDER_REVIEW = "under_review"
    QUALIFIED = "qualified"
    HELD = "held"
    REWARDED = "rewarded"
    REJECTED = "rejected"
    EXPIRED = "expired"
    REVOKED = "revoked"


class Reason(StrEnum):
    """Why a claim is refused (the values are codes of the API), or why a referral ended."""

    SELF_REFERRAL = "self_referral"
    EXISTING_CUSTOMER = "existing_customer"
    ALREADY_REFERRED = "already_referred"
    CIRCULAR_REFERRAL = "circular_referral"
    LIMIT_REACHED = "limit_reached"
    FRAUD = "fraud"
    POLICY = "policy"  # a person's decision
    NOT_QUALIFIED_IN_TIME = "not_qualified_in_time"
    REFUNDED = "refunded"
    NOT_THEIRS = "not_theirs"  # the order by which the friend qualified was another customer's
    ERASED = "erased"


class Side(StrEnum):
    """Who of the two."""

    REFERRER = "referrer"
    REFEREE = "referee"


INVITED: Final = "Referral Invited"
CLICKED: Final = "Referral Clicked"
CLAIMED: Final = "Referral Claimed"
QUALIFIED: Final = "Referral Qualified"
REWARDED: Final = "Referral Rewarded"
REJECTED: Final = "Referral Rejected"
EXPIRED: Final = "Referral Expired"
REVOKED: Final = "Referral Revoked"
"""Events of the customer on either side, which `side` names. They never say anything about the other one."""

WITHOUT_FRIEND: Final = frozenset({ReferralState.INVITED, ReferralState.CLICKED})
WAITING: Final = frozenset({ReferralState.CLAIMED, ReferralState.UNDER_REVIEW})
ON_THE_WAY: Final = frozenset({ReferralState.QUALIFIED, ReferralState.HELD})
OPEN: Final = WAITING | ON_THE_WAY
"""Claimed and not decided for good."""
UNIQUE: Final = OPEN | {ReferralState.REWARDED}
"""A friend has one referral in these states at most."""
COUNTED: Final = frozenset({ReferralState.HELD, ReferralState.REWARDED, ReferralState.REVOKED})
"""Counts towards a referrer's limit. A revoked one still does: a refund never reopens a limit."""

CODE_LENGTH: Final = 8
INVITATION_BYTES: Final = 12
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: nothing that is read wrong
_MISREAD = str.maketrans({"O": "0", "I": "1", "L": "1"})


# Codes ---------------------------------------------------------------------------------------------------


def personal_code(customer_id: UUID, attempt: int = 0) -> str:
    """The code of a customer: 40 bits that say nothing about the id. `attempt` counts up where one is taken."""
    digest = hashlib.blake2b(customer_id.bytes + bytes([attempt]), digest_size=5, person=b"referral").digest()
    value = int.from_bytes(digest)
    return "".join(_ALPHABET[value >> 5 * place & 31] for place in reversed(range(CODE_LENGTH)))


def read_code(written: str) -> str:
    """A personal code as people type it: case, blanks and dashes do not matter, O is 0, I and L are 1."""
    return re.sub(r"[\s-]", "", written).upper().translate(_MISREAD)


# Who may refer whom --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Person:
    """What tells whether two customers are one person, however address and number are written.

    `doubted`: which of `email` and `phone` only a browser named. Anybody can do that for anybody.
    """

    customer_id: UUID
    email: str | None = None
    phone: str | None = None
    doubted: frozenset[str] = frozenset()

    @property
    def trusted_email(self) -> str | None:
        """The address if a trusted source set it."""
        return None if "email" in self.doubted else self.email

    @property
    def trusted_phone(self) -> str | None:
        """The number if a trusted source set it."""
        return None if "phone" in self.doubted else self.phone

    def is_same_as(self, other: Person) -> bool:
        """Whether both are one person, as trusted sources know them: the same customer, mailbox or phone."""
        return self._trusted().may_be(other._trusted())

    def may_be(self, other: Person) -> bool:
        """Whether both are one person if browsers are believed, too: something for a person to look at."""
        if self.customer_id == other.customer_id:
            return True
        mine, theirs = mailbox(self.email), mailbox(other.email)
        if mine is not None and mine == theirs:
            return True
        return is_same_phone(self.phone, other.phone)

    def _trusted(self) -> Person:
        return Person(self.customer_id, self.trusted_email, self.trusted_phone)


@dataclass(frozen=True, slots=True)
class ClaimFacts:
    """What is known when somebody claims. `chain`: who referred the referrer, and who referred them, and so on."""

    referrer: Person
    referee: Person
    has_ordered: bool
    was_referred: bool
    chain: frozenset[UUID]


def refusal_of(facts: ClaimFacts) -> Reason | None:
    """Why the claim is refused whatever its signals say; None if it is not."""
    if facts.referrer.is_same_as(facts.referee):
        return Reason.SELF_REFERRAL
    if facts.was_referred:
        return Reason.ALREADY_REFERRED
    if facts.has_ordered:
        return Reason.EXISTING_CUSTOMER
    if facts.referee.customer_id in facts.chain:
        return Reason.CIRCULAR_REFERRAL
    return None


def is_circular(referrers: Mapping[UUID, UUID], start: UUID) -> bool:
    """Whether going from friend to referrer leads back to `start`. `referrers`: friend -> referrer."""
    seen: set[UUID] = set()
    at = referrers.get(start)
    while at is not None and at not in seen:
        if at == start:
            return True
        seen.add(at)
        at = referrers.get(at)
    return False


# What a refund does --------------------------------------------------------------------------------------

_AMOUNTS = ("total", "subtotal", "revenue", "value")
Holds = Callable[[Mapping[str, Any]], bool]
"""Whether the programme's predicates hold for an event's properties."""


@dataclass(frozen=True, slots=True)
class OrderFacts:
    """The order behind a qualifying event, as all its events have left it, and what came back of it."""

    currency: str
    back: GivenBack


def still_qualifies(properties: Mapping[str, Any], order: OrderFacts | None, holds: Holds) -> bool:
    """Whether an event qualifies with what was given back taken off its amounts. `order` None: no order is named."""
    if order is not None and order.back.returned == 1:
        return False
    return holds(properties if order is None else _less_refunds(properties, order))


def _less_refunds(properties: Mapping[str, Any], order: OrderFacts) -> dict[str, Any]:
    """The total less the money that went back, the goods' amounts less their share."""
    refunded = Fraction(Decimal(order.back.refunded).scaleb(-digits_of(order.currency)))
    less: dict[str, Any] = dict(properties)
    for name in _AMOUNTS:
        value = properties.get(name)
        if (order.back.refunded or order.back.returned) and _is_amount(value):
            told = Fraction(str(value))
            left = told - refunded if name == "total" else told * (1 - order.back.returned)
            less[name] = float(max(Fraction(0), left))
    return less


def _is_amount(value: Any) -> bool:  # any JSON
    """A finite number. Texts and anything else stay as they are."""
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
