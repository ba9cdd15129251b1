"""Everything that is stored about a customer, as one JSON document (the right of access and to data portability)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel

from api.auth import Caller, requires
from api.customer_access import find_customer
from api.dependencies import AsOf, Dependencies
from api.paths import CustomerRef
from api.profiles import Profile, read_profile
from api.routing import ApiRoute
from database.audit import write_audit
from database.customers import Customer
from database.exports import everything_about
from database.session import WriteSession
from domain.keys import Scope, StoredKey

router = APIRouter(prefix="/v1/customers/{customer_id}/export", tags=["customers"], route_class=ApiRoute)


class Export(BaseModel):
    """One customer's data. Rows are as they are stored; times are RFC 3339, money is in minor units."""

    exported_at: datetime
    profile: Profile
    identities: list[dict[str, Any]]
    events: list[dict[str, Any]]
    orders: list[dict[str, Any]]
    refunds: list[dict[str, Any]]
    carts: list[dict[str, Any]]
    product_views: list[dict[str, Any]]
    consents: list[dict[str, Any]]
    mailbox_answers: list[dict[str, Any]]
    restrictions: list[dict[str, Any]]
    messages: list[dict[str, Any]]
    runs: list[dict[str, Any]]
    journey_decisions: list[dict[str, Any]]
    dates_due: list[dict[str, Any]]
    points: list[dict[str, Any]]
    point_lots: list[dict[str, Any]]
    referral_codes: list[dict[str, Any]]
    referrals: list[dict[str, Any]]
    share_links: list[dict[str, Any]]
    submissions: list[dict[str, Any]]
    redemptions: list[dict[str, Any]]
    coupons: list[dict[str, Any]]
    coupon_uses: list[dict[str, Any]]
    tiers: list[dict[str, Any]]
    tier_overrides: list[dict[str, Any]]
    challenge_progress: list[dict[str, Any]]
    challenge_completions: list[dict[str, Any]]
    contest_entries: list[dict[str, Any]]
    contest_tickets: list[dict[str, Any]]
    leaderboard_ranks: list[dict[str, Any]]
    earnings: list[dict[str, Any]]
    point_boosts: list[dict[str, Any]]


@router.get("", dependencies=[requires(Scope.CUSTOMERS_READ)], summary="Everything about a customer")
async def export_customer(
    *, customer_id: CustomerRef, response: Response, dependencies: Dependencies, caller: Caller, as_of: AsOf
) -> Export:
    """One JSON document. Each export is noted in the audit log."""
    async with dependencies.database.transaction() as session:
        await session.take_long()
        customer = await find_customer(session, customer_id)
        profile = await read_profile(session, customer, customer_id, dependencies.temporal_ui, as_of)
        return await export_of(session, customer, profile, response, caller=caller, as_of=as_of)


async def export_of(
    session: WriteSession,
    customer: Customer,
    profile: Profile,
    response: Response,
    *,
    caller: StoredKey,
    as_of: datetime,
) -> Export:
    """The document, as a file that nobody keeps on the way; noted in the audit log."""
    sections = await everything_about(session, customer.id)
    write_audit(session, actor=caller.id, action="export", target=f"customer/{customer.id}", at=as_of)
    response.headers["Content-Disposition"] = f'attachment; filename="customer-{customer.id}.json"'
    response.headers["Cache-Control"] = "no-store"
    return Export.model_validate({"exported_at": as_of, "profile": profile, **sections})
