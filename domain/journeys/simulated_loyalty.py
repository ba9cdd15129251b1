"""The steps `points` and `reward` in a simulation: the refusals of production, and what the rest would have cost."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Protocol

from domain.durations import parse_duration
from domain.journeys.step_bodies import Points, Reward
from domain.points import Refusal
from domain.redemptions import UNKNOWN_REWARD
from domain.runs import UNTRUSTED
from domain.simulations import Costs, SimulatedCustomer


class LoyaltyWorld(Protocol):
    """The customer at the moment of the virtual clock, and the rewards that can be had."""

    @property
    def now(self) -> datetime: ...

    @property
    def customer(self) -> SimulatedCustomer: ...

    @property
    def rewards(self) -> Collection[str]: ...

    @property
    def doubtful_gifts(self) -> list[tuple[str, datetime]]: ...


def move(body: Points, world: LoyaltyWorld, *, trusted: bool, costs: Costs) -> str | None:
    """Award or deduct; the reason if the step is skipped. Temporary multipliers raise nothing here."""
    account, now = world.customer.points, world.now
    if account is None:
        return "no_programme"
    if not trusted:
        return UNTRUSTED
    if body.deduct is not None:
        if not account.deduct(body.deduct, now):
            return Refusal.INSUFFICIENT
        costs.points_deducted += body.deduct
        return None
    if body.award is not None:
        zone, expires = account.recorded.zone, body.expires
        account.award(
            body.award, now, parse_duration(expires).after(now.astimezone(zone)).astimezone(UTC) if expires else None
        )
        costs.points_awarded += body.award
    return None


def give(body: Reward, world: LoyaltyWorld, *, trusted: bool, costs: Costs) -> str | None:
    """Give a reward; the reason if the step is skipped."""
    if not trusted and not _is_allowed(body, world):
        return UNTRUSTED
    if body.give not in world.rewards:
        return UNKNOWN_REWARD
    if not trusted:
        world.doubtful_gifts.append((body.give, world.now))
    costs.rewards[body.give] = costs.rewards.get(body.give, 0) + 1
    return None


def _is_allowed(body: Reward, world: LoyaltyWorld) -> bool:
    """Whether the step gives this customer one more in untrusted runs."""
    allowed = body.untrusted
    if allowed is None or not world.customer.is_known_by(world.now):
        return False
    since = parse_duration(allowed.per).before(world.now) if allowed.per else None
    given = [at for reward, at in world.doubtful_gifts if reward == body.give and (since is None or at > since)]
    return len(given) < allowed.per_customer
