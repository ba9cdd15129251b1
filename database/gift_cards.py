"""Gift cards on orders: what they paid, and what refunds give back to them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from database.coupons import Coupon, CouponUse
from database.orders import orders_by_id, refunds_of
from database.rewards import reward_versions
from database.session import ReadSession, WriteSession
from domain.coupons import UseState
from domain.errors import Conflict
from domain.refunds import spent_back
from domain.rewards import GiftCard, RewardDefinition


def left_on(card: GiftCard, uses: Iterable[CouponUse]) -> int:
    """Minor units that are left on a card; `uses`: those that count."""
    return card.gift_card.amount - sum(use.discount - use.given_back for use in uses)


async def rewards_of(session: ReadSession, coupons: Collection[Coupon]) -> dict[str, RewardDefinition]:
    """What each code is good for, by the version that it was issued with; pooled codes are good for nothing yet."""
    versions = {coupon.code: (coupon.reward, coupon.version) for coupon in coupons if coupon.version is not None}
    definitions = await reward_versions(session, set(versions.values()))
    return {code: definitions[version] for code, version in versions.items()}


async def give_back_shares(session: WriteSession, uses: Collection[CouponUse], coupons: Collection[Coupon]) -> None:
    """Give cards back what the refunds of their orders give back of what they paid; the codes are locked.

    What came back stays, and what the shop gave back by its own call is not given back again.
    """
    rewards = await rewards_of(session, coupons)
    cards = [use for use in uses if use.state == UseState.USED and use.code in rewards and is_card(rewards[use.code])]
    ids = {use.order_id for use in cards}
    if not cards:
        return
    orders, refunds = await orders_by_id(session, ids), await refunds_of(session, ids)
    for use in cards:
        if use.order_id in orders:
            due = spent_back(use.discount, orders[use.order_id], refunds[use.order_id])
            use.given_back = max(use.given_back, due)
    await session.flush()


def give_back(use: CouponUse, amount: int) -> None:
    """Give a card back so much more of what it paid. Raises Conflict `beyond_use`."""
    if amount > use.discount - use.given_back:
        raise Conflict("The card has paid less than that for the order.", code="beyond_use")
    use.given_back += amount


def is_card(reward: RewardDefinition) -> bool:
    """Whether a code stores value."""
    return isinstance(reward.gives, GiftCard)
