"""Coupons: what codes take off a cart, and holding, using and giving them back for an order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from fastapi import APIRouter

from api.auth import Caller, requires
from api.code_tries import Tries
from api.coupon_answers import (
    CartWish,
    CouponAnswer,
    CouponHoldWish,
    CouponWish,
    OrderCoupons,
    ReleaseWish,
    UseWish,
    ValidateAnswer,
    ValidateWish,
)
from api.customer_access import find_customer
from api.dependencies import AsOf, Dependencies, Reading, Writing
from api.paths import PathText
from api.routing import ApiRoute, only_asks
from database import coupon_uses
from database.audit import write_audit
from database.coupon_uses import Asked
from database.coupons import Terms, add_coupon, count_uses, find_coupon, generated, lock_coupons
from database.customers import customer_of
from database.rewards import published_reward
from database.session import ReadSession
from database.shop_settings import shop_settings
from domain.coupons import Cart, CouponState, normal_code
from domain.durations import parse_duration
from domain.errors import Conflict, NotFound
from domain.keys import Scope
from domain.rewards import GeneratedCodes

router = APIRouter(tags=["coupons"], route_class=ApiRoute)

_LONGEST_HOLD: Final = timedelta(days=7)
_READ, _WRITE = [requires(Scope.LOYALTY_READ)], [requires(Scope.LOYALTY_WRITE)]


@router.post("/v1/coupons/validate", dependencies=_READ, summary="What codes take off a cart")
@only_asks
async def validate_coupons(
    wish: ValidateWish, dependencies: Dependencies, caller: Caller, as_of: AsOf
) -> ValidateAnswer:
    """Nothing is held or used. Codes that take off nothing say why. Without a cart: whether the code may be used.

    Wrong codes are limited by the minute, for each key and each customer, here and wherever codes are named; beyond
    that the answer is 429.
    """
    codes = wish.wanted()
    tries = Tries(dependencies, caller, wish.customer_id, len(codes), as_of)
    await tries.spend()
    async with dependencies.database.read() as session:
        cart = await _cart(session, wish.cart)
        asked = Asked(codes, await _known(session, wish.customer_id), cart, wish.order_id)
        found = await coupon_uses.price(session, asked, as_of)
    if good := len(codes) - len(found.priced.refused):
        async with dependencies.database.transaction() as spared:
            await tries.give_back(spared, good)
    return ValidateAnswer.of(found, asked.codes, asked.cart)


@router.post("/v1/coupons/hold", dependencies=_WRITE, summary="Hold codes for an order")
async def hold_coupons(
    *, wish: CouponHoldWish, session: Writing, dependencies: Dependencies, caller: Caller, as_of: AsOf
) -> OrderCoupons:
    """All of them or none: 409 with the reason of the first that cannot be used. Holds count against limits."""
    tries = Tries(dependencies, caller, wish.customer_id, len(wish.wanted()), as_of)
    await tries.spend_before(session)
    asked = Asked(wish.wanted(), await _known(session, wish.customer_id), wish.cart.cart(), wish.order_id)
    until = min(parse_duration(wish.hold_for).after(as_of), as_of + _LONGEST_HOLD).astimezone(UTC)
    rows = await coupon_uses.hold(session, asked, as_of, until=until)
    await tries.give_back(session)
    return OrderCoupons.of(wish.order_id, rows)


@router.post("/v1/coupons/redeem", dependencies=_WRITE, summary="Use codes on an order")
async def redeem_coupons(
    *, wish: UseWish, session: Writing, dependencies: Dependencies, caller: Caller, as_of: AsOf
) -> OrderCoupons:
    """All of them or none, once for each order: asking again answers the same. The shares of its lines are frozen."""
    codes = wish.wanted()
    if wish.cart is None and await coupon_uses.is_held(session, wish.order_id, codes):
        rows = await coupon_uses.use_held(session, wish.order_id, codes, as_of)
    else:
        tries = Tries(dependencies, caller, wish.customer_id, len(codes), as_of)
        await tries.spend_before(session)
        cart = await _cart(session, wish.cart)
        asked = Asked(codes, await _known(session, wish.customer_id), cart, wish.order_id)
        rows = await coupon_uses.use(session, asked, as_of)
        await tries.give_back(session)
    return OrderCoupons.of(wish.order_id, rows)


@router.post("/v1/coupons/release", dependencies=_WRITE, summary="Give codes of an order back")
async def release_coupons(wish: ReleaseWish, session: Writing, as_of: AsOf) -> OrderCoupons:
    """The codes can be used again. Answers those that were held or used: asking again answers none. With an `amount` it
    comes back to a gift card, and the order keeps the rest; refunds that are reported as events do so by themselves.
    """
    codes = wish.wanted()
    if wish.amount is None:
        rows = await coupon_uses.release(session, wish.order_id, codes, as_of)
    else:
        rows = await coupon_uses.release_part(session, wish.order_id, codes[0], wish.amount, as_of)
    return OrderCoupons.of(wish.order_id, rows)


@router.get("/v1/orders/{order_id}/coupons", dependencies=_READ, summary="The codes of an order")
async def order_coupons(order_id: PathText, session: Reading) -> OrderCoupons:
    """With what came off each line when the order was placed: refunds are worked out from that."""
    return OrderCoupons.of(order_id, await coupon_uses.uses_of(session, order_id))


@router.post("/v1/coupons", dependencies=_WRITE, summary="Make a code of the shop's own")
async def make_coupon(wish: CouponWish, session: Writing, caller: Caller, as_of: AsOf) -> CouponAnswer:
    """Good for the live version of a reward, whatever that costs in points. A code exists once, ever."""
    published = await published_reward(session, wish.reward)
    if published is None:
        raise NotFound(f"There is no reward {wish.reward}.", code="reward_not_found")
    if not published.definition.is_coupon:
        raise Conflict(f"A {published.definition.kind} is not used on an order.", code="not_on_orders")
    owner = None if wish.customer_id is None else (await find_customer(session, wish.customer_id)).id
    code = generated(GeneratedCodes()) if wish.code is None else normal_code(wish.code)
    terms = Terms(owner, wish.uses, wish.uses_per_customer, wish.valid_from, wish.valid_until)
    if not await add_coupon(session, code, published.key, published.version, terms):
        raise Conflict(f"The code {code} exists already.", code="code_taken")
    write_audit(session, actor=caller.id, action="make_coupon", target=f"reward/{published.key}", at=as_of)
    return await _shown(session, code, as_of)


@router.get("/v1/coupons/{code}", dependencies=_READ, summary="One code")
async def get_coupon(code: PathText, dependencies: Dependencies, caller: Caller, as_of: AsOf) -> CouponAnswer:
    """What it is good for, and how often it was used. Codes that nobody has seen yet are not found."""
    tries = Tries(dependencies, caller, None, 1, as_of)
    await tries.spend()
    async with dependencies.database.transaction() as session:
        shown = await _shown(session, normal_code(code), as_of)
        await tries.give_back(session)
    return shown


@router.post("/v1/coupons/{code}/void", dependencies=_WRITE, summary="End a code for good")
async def void_coupon(
    *, code: PathText, session: Writing, dependencies: Dependencies, caller: Caller, as_of: AsOf
) -> CouponAnswer:
    """It cannot be used any more. Orders that used it keep what they got."""
    tries = Tries(dependencies, caller, None, 1, as_of)
    await tries.spend_before(session)
    for coupon in await lock_coupons(session, [normal_code(code)]):
        if coupon.state == CouponState.ACTIVE:
            coupon.state = CouponState.VOID
            write_audit(session, actor=caller.id, action="void_coupon", target=f"reward/{coupon.reward}", at=as_of)
    await session.flush()
    shown = await _shown(session, normal_code(code), as_of)
    await tries.give_back(session)
    return shown


async def _shown(session: ReadSession, code: str, as_of: datetime) -> CouponAnswer:
    row = await find_coupon(session, code)
    if row is None or row.state in (CouponState.POOLED, CouponState.RESERVED):
        raise NotFound(f"There is no coupon {code}.", code="coupon_not_found")
    counted, balance = await count_uses(session, code, as_of), await coupon_uses.card_balance(session, row, as_of)
    return CouponAnswer.of(row, counted, balance)


async def _cart(session: ReadSession, wish: CartWish | None) -> Cart:
    """The cart; where none is shown, one that says so, in the shop's currency."""
    if wish is not None:
        return wish.cart()
    return Cart((await shop_settings(session)).currency, (), is_shown=False)


async def _known(session: ReadSession, customer_id: str | None) -> UUID | None:
    """Our id of a customer; None for nobody, or somebody we have not heard of yet."""
    customer = None if customer_id is None else await customer_of(session, customer_id)
    return None if customer is None else customer.id
