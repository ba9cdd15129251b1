"""Coupons on orders: pricing a cart with codes, holding them for an order, using them, and giving uses back.

A use is a row. Codes are locked while their uses are counted, so uses and holds never exceed a limit. Lock order:
redemptions, then codes, each sorted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, or_, select

from database.base import among
from database.conditions import judge
from database.coupons import Coupon, CouponUse, lock_coupons
from database.gift_cards import give_back, give_back_shares, is_card, left_on, rewards_of
from database.redemptions import Redemption, fulfil_used, reopen
from database.session import ReadSession, WriteSession
from database.shop_settings import shop_settings
from domain.conditions.subject import Subject
from domain.coupons import (
    Cart,
    CouponState,
    Offered,
    Priced,
    Refusal,
    Standing,
    UseState,
    price_cart,
    refusal_of,
)
from domain.errors import Conflict
from domain.ids import new_id
from domain.rewards import GiftCard, RewardDefinition


@dataclass(frozen=True, slots=True)
class Asked:
    """Codes (normal ones) for a cart. `customer_id` None: nobody we know; `order_id`: whose own uses do not count."""

    codes: tuple[str, ...]
    customer_id: UUID | None
    cart: Cart
    order_id: str | None = None


@dataclass(frozen=True, slots=True)
class PricedCart:
    """A cart with its codes, and what each code that exists is good for."""

    priced: Priced
    rewards: Mapping[str, RewardDefinition]


# Pricing -------------------------------------------------------------------------------------------------


async def price(session: ReadSession, asked: Asked, as_of: datetime) -> PricedCart:
    """What the codes take off the cart, and why the others take off nothing. Changes nothing."""
    found = (await session.execute(select(Coupon).where(among(Coupon.code, asked.codes)))).scalars().all()
    return await _price(session, asked, found, as_of)


async def _price(session: ReadSession, asked: Asked, found: Sequence[Coupon], as_of: datetime) -> PricedCart:
    rewards = await rewards_of(session, found)
    uses = await _other_uses(session, rewards, asked.order_id, as_of)
    refused = dict.fromkeys(asked.codes, Refusal.UNKNOWN)
    offered = []
    for coupon in found:
        standing = await _standing(
            session, coupon, rewards.get(coupon.code), uses[coupon.code], asked=asked, as_of=as_of
        )
        reason = refusal_of(standing, asked.customer_id, as_of)
        if reason is not None:
            refused[coupon.code] = reason
            continue
        del refused[coupon.code]
        offered.append(_offered(coupon.code, rewards[coupon.code], uses[coupon.code]))
    priced = price_cart(asked.cart, offered)
    return PricedCart(replace(priced, refused={**refused, **priced.refused}), rewards)


def _offered(code: str, reward: RewardDefinition, uses: Iterable[CouponUse]) -> Offered:
    if not isinstance(reward.gives, GiftCard):
        return Offered(code, reward)
    return Offered(code, reward, balance=left_on(reward.gives, uses))


class CardBalance(NamedTuple):
    """Minor units that are left on a gift card."""

    amount: int
    currency: str


async def card_balance(session: ReadSession, coupon: Coupon, as_of: datetime) -> CardBalance | None:
    """What is left on a gift card, with what is held for orders taken off; None for other codes."""
    reward = (await rewards_of(session, [coupon])).get(coupon.code)
    if reward is None or not isinstance(reward.gives, GiftCard):
        return None
    uses = (await _other_uses(session, [coupon.code], None, as_of))[coupon.code]
    return CardBalance(left_on(reward.gives, uses), reward.gives.gift_card.currency)


async def _standing(
    session: ReadSession,
    coupon: Coupon,
    reward: RewardDefinition | None,
    uses: Sequence[CouponUse],
    *,
    asked: Asked,
    as_of: datetime,
) -> Standing:
    condition = None if reward is None or reward.eligible is None or coupon.redemption_id else reward.eligible.if_
    is_eligible = True
    if condition is not None and asked.customer_id is not None:
        shop = (await shop_settings(session)).defaults
        subject = Subject(customer_id=asked.customer_id, as_of=as_of)
        is_eligible = (await judge(session, condition, [subject], shop=shop, trusted=True))[0].holds
    return Standing(
        state=CouponState(coupon.state),
        valid_from=coupon.valid_from,
        valid_until=coupon.valid_until,
        owner=coupon.customer_id,
        uses=coupon.uses,
        uses_per_customer=coupon.uses_per_customer,
        used=len(uses),
        used_by_customer=sum(use.customer_id == asked.customer_id for use in uses),
        has_condition=condition is not None,
        is_eligible=is_eligible,
    )


async def _other_uses(
    session: ReadSession, codes: Collection[str], order_id: str | None, as_of: datetime
) -> Mapping[str, list[CouponUse]]:
    """The uses that count: those on orders, and those held whose time is not over. Relies on uq_coupon_uses."""
    statement = select(CouponUse).where(among(CouponUse.code, codes), counts(as_of))
    if order_id is not None:
        statement = statement.where(CouponUse.order_id != order_id)
    found: dict[str, list[CouponUse]] = defaultdict(list)
    for use in (await session.execute(statement)).scalars() if codes else ():
        found[use.code].append(use)
    return found


def counts(as_of: datetime) -> ColumnElement[bool]:
    """Whether a use counts against the limits of its code."""
    return or_(CouponUse.state == UseState.USED, (CouponUse.state == UseState.HELD) & (CouponUse.held_until > as_of))


# Holding, using, giving back -----------------------------------------------------------------------------


async def hold(session: WriteSession, asked: Asked, as_of: datetime, *, until: datetime) -> list[CouponUse]:
    """Hold these codes for the order, all or none: Conflict with the first refusal. What else was held is let go."""
    return await _take(session, asked, as_of, state=UseState.HELD, until=until)


async def use(session: WriteSession, asked: Asked, as_of: datetime) -> list[CouponUse]:
    """Use these codes on the order, all or none. Asking again answers what was used, with the shares as they were."""
    return await _take(session, asked, as_of, state=UseState.USED, until=None)


async def is_held(session: ReadSession, order_id: str, codes: Collection[str]) -> bool:
    """Whether all of these are held for the order, or used on it. No codes: it has some, or none are asked for."""
    return not set(codes) - {row.code for row in await uses_of(session, order_id) if row.state != UseState.RELEASED}


async def use_held(session: WriteSession, order_id: str, codes: Collection[str], as_of: datetime) -> list[CouponUse]:
    """Use what is held for the order, with the shares as they were then; `codes` empty: everything.

    Answers what is used now, or was before. A hold whose time is over is used if its code still is to be had. Raises
    Conflict `not_held`, or with the reason.
    """
    mine = [row for row in await uses_of(session, order_id) if not codes or row.code in codes]
    rows = [row for row in mine if row.state != UseState.RELEASED]
    if not rows or set(codes) - {row.code for row in rows}:
        raise Conflict("Not all of these are held for the order: send the cart too.", code="not_held")
    coupons = await _lock(session, [row.code for row in rows])
    for row in rows:
        await session.refresh(row)
        if row.state == UseState.HELD and row.held_until is not None and row.held_until <= as_of:
            await _hold_again(session, row, as_of)
    await _use(session, rows, as_of)
    await give_back_shares(session, rows, coupons)
    return rows


async def _hold_again(session: WriteSession, row: CouponUse, as_of: datetime) -> None:
    """A hold that has lapsed has no right to its code: may it still be used? Its cart is not known any more."""
    [coupon] = await lock_coupons(session, [row.code])
    cart = Cart(row.currency, ())
    asked = Asked((row.code,), row.customer_id, cart, row.order_id)
    others = (await _other_uses(session, [row.code], row.order_id, as_of))[row.code]
    standing = await _standing(session, coupon, None, others, asked=asked, as_of=as_of)
    reason = refusal_of(standing, row.customer_id, as_of)
    if reason is not None:
        raise _refused({row.code: reason})


async def release(session: WriteSession, order_id: str, codes: Collection[str], as_of: datetime) -> list[CouponUse]:
    """Give the order's uses back, held or used; `codes` empty: all. Answers those that were, once."""
    rows = [row for row in await uses_of(session, order_id) if not codes or row.code in codes]
    await _lock(session, [row.code for row in rows])
    for row in rows:
        await session.refresh(row)
    return await _give_back(session, rows, as_of)


async def release_part(
    session: WriteSession, order_id: str, code: str, amount: int, as_of: datetime
) -> list[CouponUse]:
    """Give so many minor units back to a gift card that paid for the order. Raises Conflict `not_used`, `not_a_card` or
    `beyond_use`.
    """
    coupons = await _lock(session, [code])
    rows = [row for row in await uses_of(session, order_id) if row.code == code and row.state == UseState.USED]
    if not rows:
        raise Conflict("This code is not used on the order.", code="not_used")
    if not is_card((await rewards_of(session, coupons))[code]):
        raise Conflict("Only gift cards can be given back in part; leave out `amount`.", code="not_a_card")
    for row in rows:
        give_back(row, amount)
        row.at = as_of
    await session.flush()
    return rows


async def _give_back(session: WriteSession, rows: Iterable[CouponUse], as_of: datetime) -> list[CouponUse]:
    given_back = [row for row in rows if row.state != UseState.RELEASED]
    used = [row.code for row in given_back if row.state == UseState.USED]
    for row in given_back:
        row.state, row.held_until, row.at = UseState.RELEASED, None, as_of
    await session.flush()
    await reopen(session, await _redemptions(session, used))
    return given_back


async def _use(session: WriteSession, rows: Iterable[CouponUse], as_of: datetime) -> None:
    taken = [row for row in rows if row.state == UseState.HELD]
    for row in taken:
        row.state, row.held_until, row.at = UseState.USED, None, as_of
    await session.flush()
    await fulfil_used(session, await _redemptions(session, [row.code for row in taken]), as_of)


async def uses_of(session: ReadSession, order_id: str) -> list[CouponUse]:
    """What codes an order has, or had."""
    statement = select(CouponUse).where(CouponUse.order_id == order_id).order_by(CouponUse.code)
    return list((await session.execute(statement)).scalars())


async def _take(
    session: WriteSession, asked: Asked, as_of: datetime, *, state: UseState, until: datetime | None
) -> list[CouponUse]:
    if asked.order_id is None:
        raise ValueError("codes are taken for an order")
    coupons = await _lock(session, asked.codes)
    earlier = {row.code: row for row in await uses_of(session, asked.order_id)}
    used = [row for row in earlier.values() if row.state == UseState.USED]
    if used:
        return _as_used(used, asked)
    found = await _price(session, asked, coupons, as_of)
    if found.priced.refused:
        raise _refused(found.priced.refused)
    rows = [
        earlier.get(applied.code) or CouponUse(id=new_id(), code=applied.code, order_id=asked.order_id)
        for applied in found.priced.applied
    ]
    for row, applied in zip(rows, found.priced.applied, strict=True):
        row.state, row.held_until, row.at = state, until, as_of
        row.customer_id, row.currency = asked.customer_id, asked.cart.currency
        row.discount, row.shipping, row.shares = applied.discount, applied.shipping, list(applied.shares)
        row.given_back = 0
    for row in earlier.values():
        if row.code not in asked.codes:
            row.state, row.held_until = UseState.RELEASED, None
    session.add_all(rows)
    await session.flush()
    if state is UseState.USED:
        await fulfil_used(session, await _redemptions(session, asked.codes), as_of)
        await give_back_shares(session, rows, coupons)
    return rows


def _as_used(used: list[CouponUse], asked: Asked) -> list[CouponUse]:
    """What was frozen when the order was placed; other codes cannot be added to it afterwards."""
    if set(asked.codes) - {row.code for row in used}:
        detail = "The order was placed with other codes: release those first."
        raise Conflict(detail, code="order_placed", members={"coupons": [{"code": row.code} for row in used]})
    return used


def _refused(refused: Mapping[str, Refusal]) -> Conflict:
    first = next(iter(sorted(refused)))
    told = [{"code": code, "reason": str(reason)} for code, reason in sorted(refused.items())]
    return Conflict(f"{first} cannot be used: {refused[first]}.", code=refused[first], members={"coupons": told})


async def _lock(session: WriteSession, codes: Collection[str]) -> list[Coupon]:
    ids = await _redemptions(session, codes)
    locked = select(Redemption.id).where(among(Redemption.id, ids)).order_by(Redemption.id).with_for_update()
    if ids:
        await session.execute(locked)
    return await lock_coupons(session, codes)


async def _redemptions(session: ReadSession, codes: Collection[str]) -> list[UUID]:
    statement = select(Coupon.redemption_id).where(among(Coupon.code, codes), Coupon.redemption_id.is_not(None))
    found: Sequence[Any] = (await session.execute(statement)).scalars().all() if codes else []
    return sorted(found)


async def follow_orders(
    session: WriteSession,
    changed: Collection[str],
    *,
    placed: Collection[str],
    ended: Collection[str],
    as_of: datetime,
) -> None:
    """Use what is still held for orders that were placed, give back what orders that ended have, and to gift cards
    their share of what was refunded. `changed`: all orders, `placed` and `ended` among them.

    One query where no coupon is on any of them, as on most. All codes are locked together, sorted.
    """
    statement = select(CouponUse).where(among(CouponUse.order_id, changed), CouponUse.state != UseState.RELEASED)
    rows = (await session.execute(statement)).scalars().all() if changed else []
    if not rows:
        return
    coupons = await _lock(session, {row.code for row in rows})
    for row in rows:
        await session.refresh(row)
    await _give_back(session, [row for row in rows if row.order_id in ended], as_of)
    is_held = [row for row in rows if row.order_id in placed and row.held_until and row.held_until > as_of]
    await _use(session, is_held, as_of)
    await give_back_shares(session, rows, coupons)
