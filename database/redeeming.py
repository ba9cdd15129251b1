"""Rewards for points: what a customer can have and why not, redeeming, and what each end does to the points.

One transaction holds the points, takes stock and code and writes the row, or nothing of it. Lock order: the customer,
the redemption, balances and lots (database/points.py), stock, codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from database import coupons, customers
from database.conditions import judge
from database.points import balances, post
from database.programmes import LiveProgramme, live_programme
from database.redemptions import (
    Payment,
    Redemption,
    bought_by,
    due_redemptions,
    find_redemption,
    follow_reservation,
    lock_redemption,
    mark_cancelled,
    mark_expired,
    mark_fulfilled,
    mark_issued,
    reserve,
)
from database.rewards import PublishedReward, published_reward, reward_versions, taken_of
from database.session import ReadSession, WriteSession
from database.shop_settings import shop_settings
from domain.conditions.model import Condition
from domain.conditions.subject import ShopDefaults, Subject
from domain.errors import Conflict, NotFound, Unavailable
from domain.ids import new_id
from domain.local_time import resolve_zone
from domain.points import Capture, Hold, Move, Moved, Release, Restore
from domain.redemptions import RESERVED_FOR, Canceller, RedemptionState, Refused
from domain.rewards import Facts, Reason, RewardDefinition, availability, counted

_GRACE: Final = timedelta(days=30)
"""Of points that come back when no programme is live that says it."""
_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class Offer:
    """One reward as one customer sees it. `points`: the price for this customer; no `reasons`: it can be had."""

    reward: PublishedReward
    points: int | None
    reasons: Sequence[Reason]
    left: int | None  # of the stock; None: unlimited
    told: str | None  # what the reward says to who is not eligible


async def offers(
    session: ReadSession, customer_id: UUID, rewards: Sequence[PublishedReward], as_of: datetime
) -> list[Offer]:
    """Every reward with its price for this customer, and why it cannot be had where it cannot."""
    keys = [reward.key for reward in rewards]
    judged = await _Judge.of(session, customer_id, as_of)
    taken, pools = await taken_of(session, keys), await coupons.pools_with_codes(session, keys)
    bought = await bought_by(session, customer_id)
    programme = await live_programme(session)
    zone = programme.zone if programme else resolve_zone(None, judged.shop.zone)
    points = await _available(session, programme, customer_id, as_of)
    found = []
    for reward in rewards:
        definition = reward.definition
        facts = Facts(
            as_of=as_of,
            is_live=reward.is_live,
            price=await judged.price(definition),
            is_eligible=definition.eligible is None or await judged.holds(definition.eligible.if_),
            had=counted(definition.limit, bought.get(reward.key, ()), as_of, zone),
            taken=taken.get(reward.key, 0),
            codes_left=reward.key in pools,
            available_points=points,
        )
        found.append(_offer(reward, facts))
    return found


def _offer(reward: PublishedReward, facts: Facts) -> Offer:
    definition = reward.definition
    reasons = availability(definition, facts)
    left = None if definition.stock is None else max(definition.stock - facts.taken, 0)
    told = definition.eligible.reason if definition.eligible and Reason.NOT_ELIGIBLE in reasons else None
    return Offer(reward, facts.price, reasons, left, told)


async def _available(
    session: ReadSession, programme: LiveProgramme | None, customer_id: UUID, as_of: datetime
) -> int | None:
    if programme is None:
        return None
    return (await balances(session, programme.key, [customer_id], as_of))[customer_id].available


@dataclass(frozen=True, slots=True)
class _Judge:
    """Judges the conditions of rewards for one customer at one moment, on trusted facts."""

    session: ReadSession
    subject: Subject
    shop: ShopDefaults

    @classmethod
    async def of(cls, session: ReadSession, customer_id: UUID, as_of: datetime) -> _Judge:
        settings = await shop_settings(session)
        return cls(session, Subject(customer_id=customer_id, as_of=as_of), settings.defaults)

    async def holds(self, condition: Condition) -> bool:
        [verdict] = await judge(self.session, condition, [self.subject], shop=self.shop, trusted=True)
        return verdict.holds

    async def price(self, reward: RewardDefinition) -> int | None:
        """Of the first price that fits."""
        for price in reward.price:
            if price.if_ is None or await self.holds(price.if_):
                return price.points
        return None


# Redeeming -----------------------------------------------------------------------------------------------


async def redeem(
    session: WriteSession, customer_id: UUID, key: str, as_of: datetime, *, expected: int | None = None
) -> Redemption:
    """Redeem a reward for a customer whom the caller has locked. `expected`: the price that the customer has seen.

    Raises NotFound, or Conflict with the reason as its code; the transaction is then to be rolled back.
    """
    published = await published_reward(session, key)
    if published is None:
        raise NotFound(f"There is no reward {key}.", code="reward_not_found")
    [offer] = await offers(session, customer_id, [published], as_of)
    if offer.reasons:
        raise _not_available(offer)
    points = offer.points or 0
    if expected is not None and expected != points:
        detail = f"The price is {points} points now, not {expected}."
        raise Conflict(detail, code=Refused.PRICE_CHANGED, members={"points": points})
    payment = await _hold(session, customer_id, offer, as_of) if points else Payment(new_id())
    own_key = f"redeem/{payment.redemption_id}"
    row = await reserve(session, customer_id, published, key=own_key, as_of=as_of, payment=payment)
    if isinstance(row, Reason):  # somebody was faster
        raise Conflict("The last one has just been taken.", code=row, members={"reasons": [row]})
    if published.definition.fulfil is None:
        await _capture(session, row, as_of)
    await follow_reservation(session, row, published.definition, as_of)
    return row


def _not_available(offer: Offer) -> Conflict:
    reasons = [str(reason) for reason in offer.reasons]
    detail = offer.told or f"This reward cannot be had now: {', '.join(reasons)}."
    return Conflict(detail, code=reasons[0], members={"reasons": reasons, "points": offer.points})


async def _hold(session: WriteSession, customer_id: UUID, offer: Offer, as_of: datetime) -> Payment:
    programme = await live_programme(session)
    if programme is None:
        raise Conflict("No programme is live.", code=Reason.NO_PROGRAMME)
    hold_id = new_id()
    payment = Payment(new_id(), offer.points or 0, programme.key, hold_id)
    hold = Hold(
        account=customer_id,
        key=f"redeem/{payment.redemption_id}",
        hold_id=hold_id,
        points=payment.points,
        expires_at=as_of + RESERVED_FOR,
        source=f"reward/{offer.reward.key}",
    )
    [moved] = await post(session, programme.key, [hold], as_of)
    if moved.refusal is not None:
        raise Conflict("There are too few points.", code=moved.refusal, members={"reasons": [moved.refusal]})
    return payment


async def issue(session: WriteSession, row: Redemption, as_of: datetime) -> None:
    """Issue a locked redemption that is reserved, spending its points; whose time is over, it expires instead."""
    if row.state != RedemptionState.RESERVED:
        return
    moved = await _capture(session, row, as_of)
    if row.is_over(as_of) or (moved is not None and moved.refusal is not None):
        await mark_expired(session, row, as_of)
        return
    reward = await _definition(session, row)
    await mark_issued(session, row, reward, as_of)


async def _capture(session: WriteSession, row: Redemption, as_of: datetime) -> Moved | None:
    if row.hold_id is None:
        return None
    return await _post(session, row, Capture(row.customer_id, f"redeem/{row.id}/issue", row.hold_id), as_of)


async def _post(session: WriteSession, row: Redemption, move: Move, as_of: datetime) -> Moved:
    if row.programme is None:
        raise RuntimeError(f"redemption {row.id} has a hold and no programme")
    [moved] = await post(session, row.programme, [move], as_of)
    return moved


async def _definition(session: ReadSession, row: Redemption) -> RewardDefinition:
    return (await reward_versions(session, {(row.reward, row.version)}))[row.reward, row.version]


# Ends ----------------------------------------------------------------------------------------------------


async def lock_with_customer(session: WriteSession, redemption_id: UUID) -> Redemption:
    """A redemption and its customer, both locked, the customer first. Raises NotFound."""
    for _ in range(_TRIES):
        found = await find_redemption(session, redemption_id)
        if found is None:
            raise NotFound(f"There is no redemption {redemption_id}.", code="redemption_not_found")
        owner = found.customer_id
        await customers.lock(session, [owner], skip_locked=False)
        row = await lock_redemption(session, redemption_id)
        if row is not None and row.customer_id == owner:
            return row
    raise Unavailable("This customer is being merged at this moment.", code="customer_moves", retry_after=1)


async def fulfil(session: WriteSession, row: Redemption, as_of: datetime) -> None:
    """The shop has delivered. Of a race with /cancel or the clock the loser gets Conflict."""
    _still_open(row, as_of)
    await issue(session, row, as_of)
    _still_open(row, as_of)
    await mark_fulfilled(session, row, as_of)


async def cancel(session: WriteSession, row: Redemption, by: Canceller, reason: str, as_of: datetime) -> None:
    """Give everything back: points in their lots (with time to use them unless the customer cancels), stock, code.

    Raises Conflict for one that has ended, whose code is in use, or that the shop may be delivering just now.
    """
    _still_open(row, as_of)
    if by is Canceller.CUSTOMER and row.is_doubtful:
        raise _refused(row, Refused.BEING_FULFILLED)
    await _give_back(session, row, by, as_of)
    if await _has_code_in_use(session, row, as_of):
        raise _refused(row, Refused.COUPON_USED)
    await mark_cancelled(session, row, reason, as_of)


async def withdraw(session: WriteSession, redemption_id: UUID, reason: str, as_of: datetime) -> Refused | None:
    """Take back what was given for nothing; None: it is cancelled, else why it stays with its customer, who is locked.

    What the shop may be delivering just now stays, and so does a code that is used or held for an order.
    """
    row = await lock_redemption(session, redemption_id)
    if row is None:
        return Refused.ENDED
    refused = _why_closed(row, as_of) or (Refused.BEING_FULFILLED if row.is_doubtful else None)
    if refused is None and await _has_code_in_use(session, row, as_of):
        refused = Refused.COUPON_USED
    if refused is None:
        await mark_cancelled(session, row, reason, as_of)
    return refused


async def _has_code_in_use(session: WriteSession, row: Redemption, as_of: datetime) -> bool:
    if row.code is None:
        return False
    await coupons.lock_coupons(session, [row.code])
    return await coupons.is_in_use(session, row.id, as_of)


async def _give_back(session: WriteSession, row: Redemption, by: Canceller, as_of: datetime) -> None:
    if row.hold_id is None:
        return
    until = None if by is Canceller.CUSTOMER else await _grace(session, as_of)
    move: Move
    if row.issued_at is None:
        move = Release(row.customer_id, f"redeem/{row.id}/release", row.hold_id, until)
    else:
        key, of = f"redeem/{row.id}/restore", f"redeem/{row.id}/issue"
        move = Restore(row.customer_id, key, of, restore_until=until)
    moved = await _post(session, row, move, as_of)
    if moved.refusal is not None:
        raise RuntimeError(f"the points of redemption {row.id} cannot be given back: {moved.refusal}")


async def _grace(session: ReadSession, as_of: datetime) -> datetime:
    """Until when points that come back can be used at least."""
    programme: LiveProgramme | None = await live_programme(session)
    return as_of + _GRACE if programme is None else programme.restored_until(as_of)


def _still_open(row: Redemption, as_of: datetime) -> None:
    if refused := _why_closed(row, as_of):
        raise _refused(row, refused)


def _why_closed(row: Redemption, as_of: datetime) -> Refused | None:
    if not RedemptionState(row.state).is_open:
        return Refused.ENDED
    return Refused.EXPIRED if row.is_over(as_of) else None


_DETAILS: Final = {
    Refused.ENDED: "This redemption is over: {}.",
    Refused.EXPIRED: "This redemption has expired.",
    Refused.BEING_FULFILLED: "The shop may be delivering it already; only the shop can cancel it now.",
    Refused.COUPON_USED: "Its code is used, or held for an order: release it first.",
}


def _refused(row: Redemption, refused: Refused) -> Conflict:
    return Conflict(_DETAILS[refused].format(row.state), code=refused, members={"state": row.state})


async def expire_some(session: WriteSession, as_of: datetime, *, limit: int = 100) -> int:
    """Expire redemptions whose time is over; answers how many were looked at, 0 when none are left.

    Selected without locks, decided again under them: one that was fulfilled meanwhile stays so.
    """
    due = await due_redemptions(session, as_of, limit=limit)
    await customers.lock(session, {owner for owner, _ in due}, skip_locked=False)
    for _, id_ in sorted(due):
        row = await lock_redemption(session, id_)
        if row is not None and RedemptionState(row.state).is_open and row.is_over(as_of):
            await mark_expired(session, row, as_of)
    return len(due)
