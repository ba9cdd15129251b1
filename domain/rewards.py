"""The reward document: what customers can have for points, what it costs them, how many there are and who may have it.

Whether one customer may have it now is decided by `availability`, from facts that the caller has read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, StringConstraints, Tag, model_validator

from domain.conditions.checks import NOTHING_KNOWN, Place, Seen, check_condition
from domain.conditions.model import Condition, Predicate
from domain.conditions.operators import NameText
from domain.conditions.value_checks import check_value
from domain.document import Document, WholeNumber, by_key
from domain.documents import DOCUMENT_KEY
from domain.durations import PeriodText, parse_duration
from domain.findings import Finding, Severity
from domain.instants import Instant
from domain.journeys import places
from domain.journeys.call_checks import check_call
from domain.journeys.steps import Call
from domain.programmes.periods import is_calendar, period_of
from domain.programmes.rules import MOST_POINTS, Money, PointsCount, Rate
from domain.shop_settings import WebAddress

Key = Annotated[str, StringConstraints(pattern=DOCUMENT_KEY)]
Group = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
Prefix = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9][A-Z0-9_-]{0,19}$")]
Count = Annotated[WholeNumber, Field(ge=0, le=MOST_POINTS)]


# What it is ----------------------------------------------------------------------------------------------


class PercentOff(Document):
    """A part of the price off, never more than `most`; rounded half-even to the minor unit, once per cart."""

    percent: Annotated[Rate, Field(gt=0, le=100)]
    most: Money | None = None


class AmountOff(Document):
    """So much off."""

    amount: Money


class FreeShipping(Document):
    """Shipping costs nothing, or up to `most` less."""

    free_shipping: Literal[True]
    most: Money | None = None


class Gift(Document):
    """A product of the shop, for nothing."""

    gift: NameText = Field(description="The shop's product id.")
    quantity: Annotated[WholeNumber, Field(ge=1, le=1_000)] = 1


class GiftCard(Document):
    """Stored value: its code pays for orders until nothing is left on it."""

    gift_card: Money


class PointsMultiplier(Document):
    """Multiplies what the customer earns, from the redemption on, for so long."""

    points_multiplier: Annotated[Rate, Field(gt=0, le=1_000)]
    lasts: PeriodText


class CustomReward(Document):
    """Anything else; the shop's systems read what stands here."""

    custom: dict[str, Any] = Field(description="Any JSON object, handed to the shop as it is.")  # any JSON


Gives = Annotated[
    Annotated[PercentOff, Tag("percent")]
    | Annotated[AmountOff, Tag("amount")]
    | Annotated[FreeShipping, Tag("free_shipping")]
    | Annotated[Gift, Tag("gift")]
    | Annotated[GiftCard, Tag("gift_card")]
    | Annotated[PointsMultiplier, Tag("points_multiplier")]
    | Annotated[CustomReward, Tag("custom")],
    by_key("percent", "amount", "free_shipping", "gift", "gift_card", "points_multiplier", "custom"),
]

RewardKind = Literal["percent", "amount", "free_shipping", "gift", "gift_card", "points_multiplier", "custom"]

# What it costs, and whom ---------------------------------------------------------------------------------


class RewardPrice(Document):
    """So many points while the condition holds; of several prices the first that fits counts."""

    if_: Condition | None = Field(default=None, alias="if")
    points: PointsCount


class Eligibility(Document):
    """Who may have it, and what the others are told."""

    if_: Condition = Field(alias="if")
    reason: str = Field(default="Not for you yet.", min_length=1, max_length=300)


class RewardLimit(Document):
    """The most for one customer in a calendar period of the programme's zone (`per`; absent: in all).

    A length of hours or minutes has no calendar: then it is any period of this length.
    """

    per_customer: Annotated[WholeNumber, Field(ge=1, le=MOST_POINTS)]
    per: PeriodText | None = None


class Validity(Document):
    """From when until before when it can be redeemed."""

    from_: Instant | None = Field(default=None, alias="from")
    until: Instant | None = None

    @model_validator(mode="after")
    def _is_a_period(self) -> Self:
        if self.from_ is not None and self.until is not None and self.from_ >= self.until:
            raise ValueError("it ends before it begins")
        return self


class GeneratedCodes(Document):
    """Codes that are made up when they are needed: the prefix and some letters and digits (50 random bits in 10)."""

    prefix: Prefix | None = None
    length: Annotated[WholeNumber, Field(ge=8, le=32)] = 10


class Fulfilment(Document):
    """The shop's address that delivers: our signed webhook, repeated with the same id until it answers or `within`.

    2xx delivers (202: the shop says so later, by /fulfil); 4xx refuses for good, and the customer gets all back.
    """

    url: WebAddress
    within: PeriodText = "1d"


class RewardDefinition(Document):
    """One version of a reward, as a marketer writes it. `stock` null is unlimited, 0 is sold out.

    `stacking` names a group: of a group only the best coupon counts, those of different groups add up; a coupon
    without a group stands alone. `minimum` and `lines` say which carts and which of their lines it is good for.
    """

    reward: Key
    name: str | None = Field(default=None, max_length=200)
    description: str | None = Field(default=None, max_length=2_000)
    gives: Gives
    price: list[RewardPrice] = Field(
        default_factory=list, max_length=50, description="None: it cannot be bought, only be given or be a coupon."
    )
    stock: Count | None = None
    limit: RewardLimit | None = None
    valid: Validity = Validity()
    eligible: Eligibility | None = None
    codes: Literal["pool", "none"] | GeneratedCodes | None = Field(
        default=None, description="Absent: generated for what is used as a coupon, none for all else."
    )
    lasts: PeriodText | None = Field(default=None, description="How long it can be used once issued; absent: forever.")
    stacking: Group | None = None
    minimum: Money | None = None
    lines: list[Predicate] = Field(default_factory=list, max_length=50, description="The cart's lines it is good for.")
    fulfil: Fulfilment | None = None

    @property
    def kind(self) -> RewardKind:
        """What it is, by the member that says so."""
        return _KINDS[type(self.gives)]

    @property
    def is_coupon(self) -> bool:
        """Whether its code is used on an order."""
        return not isinstance(self.gives, PointsMultiplier | CustomReward)

    @property
    def code_source(self) -> Literal["pool"] | GeneratedCodes | None:
        """Where a redemption's code comes from; None: it has none."""
        match self.codes:
            case "pool" | GeneratedCodes():
                return self.codes
            case None if self.is_coupon and not isinstance(self.gives, Gift):
                return GeneratedCodes()
            case _:
                return None


_KINDS: dict[type[Document], RewardKind] = {
    PercentOff: "percent",
    AmountOff: "amount",
    FreeShipping: "free_shipping",
    Gift: "gift",
    GiftCard: "gift_card",
    PointsMultiplier: "points_multiplier",
    CustomReward: "custom",
}


# Checks --------------------------------------------------------------------------------------------------


def conditions_of(reward: RewardDefinition) -> list[tuple[Condition, Place]]:
    """Every condition of a reward: those of its prices, and who may have it."""
    found = [
        (price.if_, Place(pointer=f"/price/{position}/if", in_run=False))
        for position, price in enumerate(reward.price)
        if price.if_ is not None
    ]
    return found + ([(reward.eligible.if_, Place(pointer="/eligible/if", in_run=False))] if reward.eligible else [])


def check_reward(
    reward: RewardDefinition, seen: Seen = NOTHING_KNOWN, *, allow_private_calls: bool = False
) -> list[Finding]:
    """What is wrong with a reward: conditions that cannot be asked here, prices that nobody ever gets."""
    findings: list[Finding] = []
    for condition, place in conditions_of(reward):
        findings += check_condition(condition, place=place)
        findings += check_value(condition, seen, place)
    for position, price in enumerate(reward.price):
        if price.if_ is None and position < len(reward.price) - 1:
            message = "The prices after this one are never reached: it has no condition, so it always fits."
            findings.append(_warning("price_never_reached", f"/price/{position}", message))
    if reward.fulfil is not None:
        where = places.Place("/fulfil")
        findings += check_call(Call(url=reward.fulfil.url), where, allow_private=allow_private_calls)
    return [*findings, *_of_coupon(reward)]


def _of_coupon(reward: RewardDefinition) -> list[Finding]:
    findings = []
    if not reward.is_coupon and (reward.minimum or reward.lines or reward.stacking):
        message = f"A {reward.kind} is not used on an order, so minimum, lines and stacking mean nothing here."
        findings.append(_warning("not_a_coupon", "", message))
    if isinstance(reward.gives, PointsMultiplier) and reward.fulfil is not None:
        message = "A points_multiplier is in force when it is redeemed: the shop has nothing to deliver."
        findings.append(Finding(code="nothing_to_deliver", pointer="/fulfil", message=message))
    if isinstance(reward.gives, Gift | GiftCard | FreeShipping) and reward.lines:
        message = f"A {reward.kind} does not come off single lines; `lines` means nothing here."
        findings.append(_warning("lines_unused", "/lines", message))
    return findings


def _warning(code: str, pointer: str, message: str) -> Finding:
    return Finding(code=code, severity=Severity.WARNING, pointer=pointer, message=message)


# Who may have it now -------------------------------------------------------------------------------------


class Reason(StrEnum):
    """Why a customer cannot have a reward now. The values are codes of the API."""

    NO_PROGRAMME = "no_programme"
    NOT_LIVE = "not_live"  # paused or archived
    NOT_YET_VALID = "not_yet_valid"
    NO_LONGER_VALID = "no_longer_valid"
    NOT_FOR_SALE = "not_for_sale"  # it has no price that fits
    NOT_ELIGIBLE = "not_eligible"
    LIMIT_REACHED = "limit_reached"
    SOLD_OUT = "sold_out"
    NO_CODES_LEFT = "no_codes_left"
    INSUFFICIENT_POINTS = "insufficient_points"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known when somebody asks for a reward. `taken`: of its stock; `had`: by this customer, in the period."""

    as_of: datetime
    is_live: bool = True
    price: int | None = 0  # of the first price that fits, in points; None: none fits
    is_eligible: bool = True
    had: int = 0
    taken: int = 0
    codes_left: bool = True
    available_points: int | None = None  # None: they are not asked for, or there is no programme


def counted(limit: RewardLimit | None, bought: Sequence[datetime], as_of: datetime, zone: ZoneInfo) -> int:
    """How many of those bought count against the limit now."""
    if limit is None or limit.per is None:
        return len(bought)
    if is_calendar(limit.per):
        start, end = period_of(as_of, limit.per, zone)
        return sum(start <= at < end for at in bought)
    since = parse_duration(limit.per).before(as_of)
    return sum(at > since for at in bought)


def availability(reward: RewardDefinition, facts: Facts) -> list[Reason]:
    """Every reason why the customer cannot buy it now, the first being the one to tell; empty: it can be had."""
    valid = reward.valid
    checks = (
        (Reason.NOT_LIVE, not facts.is_live),
        (Reason.NOT_YET_VALID, valid.from_ is not None and facts.as_of < valid.from_),
        (Reason.NO_LONGER_VALID, valid.until is not None and facts.as_of >= valid.until),
        (Reason.NOT_FOR_SALE, facts.price is None),
        (Reason.NOT_ELIGIBLE, not facts.is_eligible),
        (Reason.LIMIT_REACHED, reward.limit is not None and facts.had >= reward.limit.per_customer),
        (Reason.SOLD_OUT, reward.stock is not None and facts.taken >= reward.stock),
        (Reason.NO_CODES_LEFT, reward.code_source == "pool" and not facts.codes_left),
        (Reason.NO_PROGRAMME, bool(facts.price) and facts.available_points is None),
        (Reason.INSUFFICIENT_POINTS, facts.available_points is not None and (facts.price or 0) > _usable(facts)),
    )
    return [reason for reason, applies in checks if applies]


def _usable(facts: Facts) -> int:
    return max(facts.available_points or 0, 0)  # a deficit is no debt for what costs nothing
