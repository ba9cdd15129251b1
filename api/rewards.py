"""Rewards: their life as documents, their stock and codes, and what a customer can have of them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel

from api.auth import Caller, requires
from api.customer_access import customer_not_found, find_customer, lock_customer
from api.dependencies import AsOf, Reading, Writing
from api.documents import Key, document_router
from api.idempotency import concerns
from api.paths import CustomerRef
from api.redemption_answers import (
    CatalogueEntry,
    CodesLoaded,
    CodesToLoad,
    RedeemWish,
    RedemptionAnswer,
    StockAnswer,
)
from api.reward_kind import RewardKind
from api.routing import ApiRoute, body_limit
from database import coupons, documents
from database.audit import write_audit
from database.redeeming import offers, redeem
from database.rewards import KIND, live_rewards, published_reward, taken_of
from database.session import ReadSession
from domain.coupons import normal_code
from domain.documents import DOCUMENT_KEY
from domain.errors import NotFound
from domain.keys import Scope

_documents = document_router(RewardKind, read=Scope.LOYALTY_READ, write=Scope.LOYALTY_WRITE)
router = APIRouter(route_class=ApiRoute)

RewardRef = Annotated[str, Path(pattern=DOCUMENT_KEY, description="The reward's key.", examples=["free-tea"])]


class Catalogue(BaseModel):
    """What there is for this customer."""

    data: list[CatalogueEntry]


@_documents.post("/{key}/codes", dependencies=[requires(Scope.LOYALTY_WRITE)], summary="Load codes into its pool")
@body_limit(1_000_000)
async def load_reward_codes(key: Key, wish: CodesToLoad, session: Writing, caller: Caller, as_of: AsOf) -> CodesLoaded:
    """A code belongs to one reward and later to one customer, forever: those that exist already are left alone."""
    await _must_exist(session, key)
    codes = list(dict.fromkeys(normal_code(code) for code in wish.codes))
    loaded = await coupons.load_codes(session, key, codes)
    detail = {"loaded": len(loaded)}
    write_audit(session, actor=caller.id, action="load_codes", target=f"{KIND}/{key}", at=as_of, detail=detail)
    return CodesLoaded(loaded=len(loaded), known=[code for code in codes if code not in loaded])


@_documents.get("/{key}/stock", dependencies=[requires(Scope.LOYALTY_READ)], summary="How many are left")
async def get_reward_stock(key: Key, session: Reading) -> StockAnswer:
    """Of the live version. What was cancelled, or ended before it was issued, is not taken any more."""
    published = await published_reward(session, key)
    if published is None:
        raise NotFound(f"No version of the reward {key} is published.", code="reward_not_found")
    stock, taken = published.definition.stock, (await taken_of(session, [key])).get(key, 0)
    pooled = published.definition.code_source == "pool"
    return StockAnswer(
        reward=key,
        stock=stock,
        taken=taken,
        left=None if stock is None else max(stock - taken, 0),
        codes_left=await coupons.pooled_count(session, key) if pooled else None,
    )


router.include_router(_documents)


@router.get(
    "/v1/customers/{customer_id}/rewards",
    dependencies=[requires(Scope.LOYALTY_READ)],
    summary="What the customer can have, and why not",
    tags=["rewards"],
)
async def customer_rewards(
    customer_id: CustomerRef,
    session: Reading,
    as_of: AsOf,
    available: Annotated[
        bool, Query(description="true: the whole catalogue, judged; false: only what cannot be had now.")
    ] = True,
) -> Catalogue:
    """Every live reward with this customer's price; each that cannot be had says why."""
    customer = await find_customer(session, customer_id)
    found = await offers(session, customer.id, await live_rewards(session), as_of)
    return Catalogue(data=[CatalogueEntry.of(offer) for offer in found if available or offer.reasons])


@router.post(
    "/v1/customers/{customer_id}/rewards/{reward}/redeem",
    dependencies=[requires(Scope.LOYALTY_WRITE)],
    summary="Redeem a reward",
    tags=["rewards"],
)
async def redeem_reward(
    customer_id: CustomerRef, reward: RewardRef, session: Writing, as_of: AsOf, wish: RedeemWish | None = None
) -> RedemptionAnswer:
    """Points, stock and code are taken together, or nothing is. 409 says why it cannot be had now.

    Issued at once, unless the shop's systems deliver it: then it is reserved until they were asked.
    """
    customer = await lock_customer(session, customer_id)
    if customer is None:
        raise customer_not_found()
    row = await redeem(session, customer.id, reward, as_of, expected=wish.points if wish else None)
    concerns(session, customer.id)
    return RedemptionAnswer.of(row, customer.external_id)


async def _must_exist(session: ReadSession, key: str) -> None:
    if await documents.load(session, KIND, key) is None:
        raise NotFound(f"There is no reward {key}.", code="reward_not_found")
