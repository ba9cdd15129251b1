"""Referrals: a customer's code, link and friends, claiming, and the queue of claims that a person decides about."""

from __future__ import annotations

import secrets
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import TypeAdapter

from api.auth import Caller, requires
from api.code_tries import Tries
from api.customer_access import customer_not_found, find_customer, find_or_make_customer, lock_customer
from api.dependencies import ApiDependencies, AsOf, Dependencies, Reading, Writing
from api.idempotency import concerns
from api.pagination import Page, PageRequest, page, page_request
from api.paths import CustomerRef
from api.referral_answers import (
    ClaimWish,
    ClicksAnswer,
    CustomerReferralAnswer,
    FriendAnswer,
    InvitationAnswer,
    ReferralAnswer,
    RejectWish,
)
from api.routing import ApiRoute
from database import customers, referrals
from database.audit import write_audit
from database.customers import customer_of, external_ids
from database.programmes import live_programme
from database.referral_codes import clicks_on, code_for, codes_of
from database.referrals import Referral, listed, tell
from database.session import ReadSession, WriteSession
from database.shop_settings import shop_settings
from domain.errors import Conflict, NotFound
from domain.keys import Scope
from domain.referrals import CLAIMED, INVITATION_BYTES, QUALIFIED, REJECTED, ReferralState, Side
from triggers.referral_claims import Origin, claim, invite, origin_of

router = APIRouter(tags=["referrals"], route_class=ApiRoute)

READ, WRITE = [requires(Scope.LOYALTY_READ)], [requires(Scope.LOYALTY_WRITE)]
Wanted = Annotated[PageRequest, Depends(page_request)]
ById = TypeAdapter(tuple[UUID])
_FRIENDS_SHOWN = 100
_MOST_INVITATIONS = 1_000


@router.get("/v1/customers/{customer_id}/referral", dependencies=READ, summary="A customer's referral code and friends")
async def get_customer_referral(
    customer_id: CustomerRef, dependencies: Dependencies, as_of: AsOf
) -> CustomerReferralAnswer:
    """The code is made when it is first asked for. Friends are shown by where they stand, never by who they are."""
    async with dependencies.database.transaction() as session:
        customer = await find_customer(session, customer_id)
        code = await code_for(session, customer.id, as_of)
    async with dependencies.database.read() as session:
        people, machines = await clicks_on(session, await codes_of(session, customer.id))
        programme = await live_programme(session)
        rows = (await session.execute(listed(referrer_id=customer.id).limit(_FRIENDS_SHOWN))).scalars()
        return CustomerReferralAnswer(
            code=code,
            link=await _link(session, dependencies, code),
            active=programme is not None and programme.definition.referral is not None,
            clicks=ClicksAnswer(people=people, machines=machines),
            counts={ReferralState(state): n for state, n in (await referrals.states_of(session, customer.id)).items()},
            friends=[FriendAnswer.of(row) for row in rows],
            referred_by_link=await referrals.claimed_by(session, customer.id) is not None,
        )


@router.post(
    "/v1/customers/{customer_id}/referral/invitations",
    dependencies=WRITE,
    status_code=201,
    summary="Make a link for one friend",
)
async def invite_friend(
    customer_id: CustomerRef, session: Writing, dependencies: Dependencies, as_of: AsOf
) -> InvitationAnswer:
    """A link of its own, so that one sees whether this friend has followed it. The friend's name is not asked for."""
    customer = await lock_customer(session, customer_id)
    if customer is None:
        raise customer_not_found()
    concerns(session, customer.id)
    states = await referrals.states_of(session, customer.id)
    if sum(states.get(state, 0) for state in (ReferralState.INVITED, ReferralState.CLICKED)) >= _MOST_INVITATIONS:
        raise Conflict(f"There are {_MOST_INVITATIONS} open invitations.", code="too_many_invitations")
    row = await invite(session, customer.id, secrets.token_urlsafe(INVITATION_BYTES), as_of)
    token = row.token or ""
    link = await _link(session, dependencies, token)
    return InvitationAnswer(referral_id=row.id, code=token, link=link, expires_at=row.lapses_at)


@router.post(
    "/v1/referrals/claim",
    dependencies=WRITE,
    status_code=201,
    summary="Claim: a friend was brought by somebody",
    responses={200: {"model": ReferralAnswer, "description": "The same claim was made before; it as it is now"}},
)
async def claim_referral(
    *,
    wish: ClaimWish,
    response: Response,
    session: Writing,
    dependencies: Dependencies,
    caller: Caller,
    as_of: AsOf,
) -> ReferralAnswer:
    """Safe to repeat. Refused with 409 and the reason as `code`: `self_referral`, `existing_customer`,
    `already_referred`, `circular_referral`, `no_programme`; 404 `referral_code_not_found`. Suspicious claims are taken
    in as `under_review` or `rejected`. A friend whom nobody knows yet becomes a customer. Wrong codes count as tries,
    as those of coupons do: 429 after too many.
    """
    tries = Tries(dependencies, caller, wish.referee, 0 if wish.code is None else 1, as_of)
    await tries.spend_before(session)
    origin = await _origin(session, wish)
    referee = await find_or_make_customer(session, dependencies, wish.referee, as_of)
    concerns(session, referee.id)
    signals = wish.signals.known(truncate_ip=dependencies.truncate_ip)
    claimed = await claim(session, origin, referee.id, signals, as_of)
    await tries.give_back(session)
    response.status_code = 200 if claimed.repeated else 201
    return await _shown(session, claimed.referral)


@router.get("/v1/referrals", dependencies=READ, summary="Referrals, the latest first")
async def list_referrals(
    *,
    session: Reading,
    wanted: Wanted,
    state: Annotated[ReferralState | None, Query(description="`under_review` is the queue for people.")] = None,
) -> Page[ReferralAnswer]:
    """For the shop's own people: with both sides, order, score and suspicions."""
    statement = listed(state=state)
    if (after := wanted.after(ById)) is not None:
        statement = statement.where(Referral.id < after[0])
    rows = (await session.execute(statement.limit(wanted.probe))).scalars().all()
    names = await external_ids(session, {id_ for row in rows for id_ in _ends(row)})
    return page(rows, wanted, lambda row: ReferralAnswer.of(row, names), lambda row: (row.id,))


@router.get("/v1/referrals/{referral_id}", dependencies=READ, summary="One referral")
async def get_referral(referral_id: UUID, session: Reading) -> ReferralAnswer:
    """Where it stands, and why."""
    row = await session.get(Referral, referral_id)
    if row is None:
        raise _not_found()
    return await _shown(session, row)


@router.post("/v1/referrals/{referral_id}/approve", dependencies=WRITE, summary="Let a claim under review count")
async def approve_referral(referral_id: UUID, session: Writing, caller: Caller, as_of: AsOf) -> ReferralAnswer:
    """It goes on from where it would stand: an order that was made meanwhile qualifies, and what was doubted at the end
    of its hold is rewarded within the hour. Kept in the audit log.
    """
    row = await _under_review(session, referral_id)
    reached = ReferralState.QUALIFIED if row.due_at is None else ReferralState.HELD
    row.state = ReferralState.CLAIMED if row.qualified_at is None else reached
    await session.flush()
    await tell(session, row, CLAIMED, as_of)
    if row.state == ReferralState.QUALIFIED:
        await tell(session, row, QUALIFIED, as_of)
    write_audit(session, actor=caller.id, action="referral.approve", target=f"referral/{row.id}", at=as_of)
    return await _shown(session, row)


@router.post("/v1/referrals/{referral_id}/reject", dependencies=WRITE, summary="Reject a claim under review")
async def reject_referral(
    referral_id: UUID, wish: RejectWish, session: Writing, caller: Caller, as_of: AsOf
) -> ReferralAnswer:
    """For good: this friend cannot be claimed again. Kept in the audit log."""
    row = await _under_review(session, referral_id)
    row.state, row.reason, row.ended_at = ReferralState.REJECTED, wish.reason, as_of
    await session.flush()
    await tell(session, row, REJECTED, as_of, sides=[Side.REFERRER])
    detail = {"reason": wish.reason}
    write_audit(
        session, actor=caller.id, action="referral.reject", target=f"referral/{row.id}", at=as_of, detail=detail
    )
    return await _shown(session, row)


async def _under_review(session: WriteSession, referral_id: UUID) -> Referral:
    """The referral, locked after its customers. Raises NotFound, Conflict `not_under_review`."""
    found = await session.get(Referral, referral_id)
    if found is None:
        raise _not_found()
    await customers.lock(session, _ends(found), skip_locked=False)
    row = await referrals.lock_referral(session, referral_id)
    if row is None or row.state != ReferralState.UNDER_REVIEW:
        raise Conflict("This referral is not under review.", code="not_under_review")
    return row


def _ends(row: Referral) -> set[UUID]:
    return {id_ for id_ in (row.referrer_id, row.referee_id) if id_ is not None}


async def _shown(session: ReadSession, row: Referral) -> ReferralAnswer:
    return ReferralAnswer.of(row, await external_ids(session, _ends(row)))


async def _origin(session: WriteSession, wish: ClaimWish) -> Origin:
    if wish.code is not None:
        return await origin_of(session, wish.code)
    referrer = await customer_of(session, wish.referrer or "")
    if referrer is None:
        raise NotFound("No customer is known under the referrer's id.", code="referrer_not_found")
    return Origin(referrer.id)


async def _link(session: ReadSession, dependencies: ApiDependencies, code: str) -> str:
    base = (await shop_settings(session)).link_base or dependencies.public_url
    return f"{base.rstrip('/')}/r/{code}"


def _not_found() -> NotFound:
    return NotFound("There is no such referral.", code="referral_not_found")
