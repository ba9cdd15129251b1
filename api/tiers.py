"""Tiers: where a customer stands, what a person decides instead, and who would move under other tiers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query

from api.auth import Caller, requires
from api.customer_access import customer_not_found, find_customer, lock_customer
from api.dependencies import AsOf, Reading, Writing
from api.idempotency import concerns
from api.paths import CustomerRef
from api.routing import ApiRoute, only_asks
from api.tier_answers import DryRunAnswer, DryRunRequest, OverrideRequest, TierAnswer, dry_run_answer, tier_answer
from database.audit import write_audit
from database.customers import Customer
from database.documents import load
from database.programmes import KIND
from database.session import ReadSession, WriteSession
from database.shop_settings import shop_settings
from database.tier_trials import try_rules
from database.tier_weighing import weigh
from database.tiers import (
    Ladder,
    TierOverride,
    end_overrides,
    give_override,
    histories,
    ladder_of,
    overrides_of,
)
from domain.documents import DOCUMENT_KEY
from domain.drafts import read_draft
from domain.errors import ChecksFailed, Conflict, NotFound
from domain.findings import Severity
from domain.ids import new_id
from domain.keys import Scope
from domain.local_time import resolve_zone
from domain.programmes.checks import check_programme
from domain.programmes.definition import ProgrammeDefinition
from domain.tiers import tier_rules

router = APIRouter(tags=["loyalty"], route_class=ApiRoute)

READ = [requires(Scope.LOYALTY_READ)]
WRITE = [requires(Scope.LOYALTY_WRITE)]
_TIER = "/v1/customers/{customer_id}/tier"
DocumentKey = Annotated[str, Path(pattern=DOCUMENT_KEY)]
Reason = Annotated[str, Query(min_length=1, max_length=500, description="For people; goes with the customer.")]


@router.get(_TIER, dependencies=READ, summary="A customer's tier")
async def get_tier(customer_id: CustomerRef, session: Reading, as_of: AsOf) -> TierAnswer:
    """The tier with its history, what is missing to the next one, and what keeps this one."""
    customer = await find_customer(session, customer_id)
    ladder = await ladder_of(session)
    return TierAnswer() if ladder is None else await _answer(session, ladder, customer.id, as_of)


@router.put(_TIER, dependencies=WRITE, summary="Give a tier by hand")
async def put_tier(
    *,
    customer_id: CustomerRef,
    wish: OverrideRequest,
    session: Writing,
    caller: Caller,
    as_of: AsOf,
) -> TierAnswer:
    """Holds from now until its end, or until it is taken away, whatever is earned; the next one replaces it."""
    customer, ladder = await _locked(session, customer_id)
    if ladder.rules.rank_of(wish.tier) is None:
        raise Conflict(f"The programme has no tier {wish.tier}.", code="unknown_tier")
    if wish.until is not None and wish.until <= as_of:
        raise Conflict("The override would end before it begins; name a later time.", code="ends_in_the_past")
    override = TierOverride(
        id=new_id(),
        customer_id=customer.id,
        programme=ladder.programme,
        tier=wish.tier,
        from_at=as_of,
        until_at=wish.until,
        reason=wish.reason,
        author=caller.id,
    )
    await give_override(session, override)
    write_audit(session, actor=caller.id, action="tier.give", target=f"customer/{customer.id}", at=as_of)
    return await _decided(session, ladder, customer, as_of)


@router.delete(_TIER, dependencies=WRITE, summary="Take a tier away that was given by hand")
async def delete_tier(
    *, customer_id: CustomerRef, reason: Reason, session: Writing, caller: Caller, as_of: AsOf
) -> TierAnswer:
    """What was earned counts again, at once. Where no tier was given, nothing changes."""
    customer, ladder = await _locked(session, customer_id)
    await end_overrides(session, ladder.programme, customer.id, as_of, removal=reason)
    write_audit(session, actor=caller.id, action="tier.take", target=f"customer/{customer.id}", at=as_of)
    return await _decided(session, ladder, customer, as_of)


@router.post("/v1/programmes/{key}/tiers/dry-run", dependencies=READ, summary="Who would move under other tiers")
@only_asks
async def try_tiers(key: DocumentKey, wish: DryRunRequest, session: Reading, as_of: AsOf) -> DryRunAnswer:
    """Weighs the customers by these tiers as if they were published now, and writes nothing."""
    await session.take_long()
    row = await load(session, KIND, key)
    if row is None:
        raise NotFound(f"There is no programme {key}.", code="programme_not_found")
    tiers = {"tiers": wish.tiers.model_dump(mode="json", exclude_unset=True)} if wish.tiers else {}
    read = read_draft(ProgrammeDefinition, row.draft | tiers)
    draft = read.document if isinstance(read.document, ProgrammeDefinition) else None
    findings = read.findings if draft is None else check_programme(draft)
    errors = [found for found in findings if found.severity is Severity.ERROR]
    if draft is None or errors:
        raise ChecksFailed(errors[0].message, members={"findings": [found.model_dump() for found in errors]})
    shop = await shop_settings(session)
    tried = tier_rules(draft, 0, as_of, resolve_zone(draft.zone, shop.zone), shop.currency)
    if tried is None:
        raise Conflict("These have no tiers to try.", code="no_tiers")
    ladder = await ladder_of(session) or Ladder(key, [])
    return dry_run_answer(await try_rules(session, ladder, tried, as_of))


async def _locked(session: WriteSession, customer_id: str) -> tuple[Customer, Ladder]:
    customer = await lock_customer(session, customer_id)
    if customer is None:
        raise customer_not_found()
    ladder = await ladder_of(session)
    if ladder is None:
        raise Conflict("No programme with tiers is live.", code="no_programme")
    return customer, ladder


async def _decided(session: WriteSession, ladder: Ladder, customer: Customer, as_of: datetime) -> TierAnswer:
    await weigh(session, ladder, [customer.id], as_of)
    concerns(session, customer.id)
    return await _answer(session, ladder, customer.id, as_of)


async def _answer(session: ReadSession, ladder: Ladder, customer_id: UUID, as_of: datetime) -> TierAnswer:
    replayed = await histories(session, ladder, [customer_id], as_of)
    overrides = await overrides_of(session, ladder.programme, [customer_id])
    return tier_answer(ladder, replayed[customer_id], overrides, as_of)
