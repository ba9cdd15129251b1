"""Claiming: a friend says who brought them. Refused, taken, put before a person, or rejected by its signals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import select

from database import customers, referrals
from database.customers import Customer
from database.erased_friends import was_brought_before_erasure
from database.programmes import LiveProgramme, live_programme
from database.referral_codes import owner_of
from database.referral_signals import add_signals, evidence_for
from database.referrals import Referral, tell
from database.session import ReadSession, WriteSession
from domain.durations import parse_duration
from domain.errors import Conflict, NotFound, Unavailable
from domain.ids import new_id
from domain.programmes.definition import Referral as Terms
from domain.referral_signals import Assessment, SignalKind, Verdict, assess
from domain.referrals import (
    CLAIMED,
    INVITED,
    REJECTED,
    WITHOUT_FRIEND,
    ClaimFacts,
    Person,
    Reason,
    ReferralState,
    Side,
    read_code,
    refusal_of,
)

INVITATION_GOOD_FOR = timedelta(days=90)
"""How long after it was given out an invitation's link can be claimed."""

_REFUSALS = {
    Reason.SELF_REFERRAL: "Referrer and friend are one person.",
    Reason.ALREADY_REFERRED: "This customer was referred before; once is all.",
    Reason.EXISTING_CUSTOMER: "This customer has ordered before the claim.",
    Reason.CIRCULAR_REFERRAL: "This customer has brought the referrer, or whoever brought them.",
}
_STATES = {
    Verdict.ALLOW: ReferralState.CLAIMED,
    Verdict.REVIEW: ReferralState.UNDER_REVIEW,
    Verdict.REJECT: ReferralState.REJECTED,
}


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose link or code it is; `invitation` where it was one of a kind."""

    referrer_id: UUID
    code: str | None = None
    invitation: UUID | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """The friend's referral. `repeated`: the same claim was made before."""

    referral: Referral
    repeated: bool = False


async def terms_of(session: ReadSession) -> tuple[LiveProgramme, Terms]:
    """What the live programme says about referrals. Raises Conflict `no_programme`."""
    programme = await live_programme(session)
    if programme is None or programme.definition.referral is None:
        raise Conflict("No programme with referrals is live: publish one first.", code="no_programme")
    return programme, programme.definition.referral


async def origin_of(session: WriteSession, written: str) -> Origin:
    """Whose code or invitation this is. Raises NotFound `referral_code_not_found`."""
    invitation = await referrals.invitation(session, written)
    if invitation is not None:
        referrer_id = await session.scalar(select(Referral.referrer_id).where(Referral.id == invitation))
        assert referrer_id is not None  # noqa: S101  rows are never removed
        return Origin(referrer_id, written, invitation)
    code = read_code(written)
    owner = await owner_of(session, code)
    if owner is None:
        raise NotFound("No customer has this referral code.", code="referral_code_not_found")
    return Origin(owner, code)


async def claim(
    session: WriteSession, origin: Origin, referee_id: UUID, signals: Mapping[SignalKind, str], as_of: datetime
) -> Claimed:
    """Take a claim in. The same claim again answers the first; raises Conflict with the reason of a refusal."""
    programme, terms = await terms_of(session)
    await _lock_both(session, origin.referrer_id, referee_id)
    await referrals.lock_claims(session)
    earlier = await referrals.claimed_by(session, referee_id)
    if earlier is not None and earlier.referrer_id == origin.referrer_id != referee_id:
        return Claimed(earlier, repeated=True)
    known = await referrals.people(session, {origin.referrer_id, referee_id})
    referrer, referee = known[origin.referrer_id], known[referee_id]
    await _refuse(
        session,
        referrer,
        referee,
        was_referred=earlier is not None or await was_brought_before_erasure(session, referee_id),
    )
    found = assess(await evidence_for(session, referrer, referee, signals, as_of))
    row = await _row(session, origin, programme, as_of)
    _fill(row, origin, referee_id, found, as_of)
    row.lapses_at = parse_duration(terms.valid).after(as_of.astimezone(programme.zone)).astimezone(UTC)
    await session.flush()
    await add_signals(session, row.id, signals, as_of)
    await _tell(session, row, as_of)
    return Claimed(row)


async def invite(session: WriteSession, referrer_id: UUID, token: str, as_of: datetime) -> Referral:
    """Note that a customer invites somebody, by a link of its own. The caller has locked the customer."""
    programme, _ = await terms_of(session)
    row = _blank(referrer_id, programme, as_of)
    row.token, row.state, row.invited_at = token, ReferralState.INVITED, as_of
    session.add(row)
    await session.flush()
    await tell(session, row, INVITED, as_of, sides=[Side.REFERRER])
    return row


async def _lock_both(session: WriteSession, referrer_id: UUID, referee_id: UUID) -> None:
    await customers.lock(session, {referrer_id, referee_id}, skip_locked=False)
    for id_ in (referrer_id, referee_id):
        found = await session.get(Customer, id_, populate_existing=True)
        if found is None or found.merged_into is not None:
            raise Unavailable("One of them is being merged at this moment.", code="customer_moves", retry_after=1)


async def _refuse(session: WriteSession, referrer: Person, referee: Person, *, was_referred: bool) -> None:
    facts = ClaimFacts(
        referrer=referrer,
        referee=referee,
        has_ordered=await referrals.has_ordered(session, referee.customer_id),
        was_referred=was_referred,
        chain=await referrals.chain_above(session, referrer.customer_id),
    )
    refusal = refusal_of(facts)
    if refusal is not None:
        raise Conflict(_REFUSALS[refusal], code=refusal)


async def _row(session: WriteSession, origin: Origin, programme: LiveProgramme, as_of: datetime) -> Referral:
    """The invitation's row, unless it was claimed by somebody else already: a link that is passed on works for all."""
    invitation = await referrals.lock_referral(session, origin.invitation) if origin.invitation else None
    if invitation and invitation.state == ReferralState.EXPIRED and invitation.referee_id is None:
        raise Conflict("This invitation has lapsed.", code="invitation_expired")
    if invitation and invitation.state in WITHOUT_FRIEND:
        return invitation
    row = _blank(origin.referrer_id, programme, as_of)
    session.add(row)
    return row


def _blank(referrer_id: UUID, programme: LiveProgramme, as_of: datetime) -> Referral:
    return Referral(
        id=new_id(),
        programme=programme.key,
        referrer_id=referrer_id,
        rounds=0,
        score=0,
        suspicions=[],
        lapses_at=as_of + INVITATION_GOOD_FOR,
    )


def _fill(row: Referral, origin: Origin, referee_id: UUID, found: Assessment, as_of: datetime) -> None:
    row.referee_id, row.code, row.claimed_at = referee_id, origin.code, as_of
    row.state, row.score, row.suspicions = _STATES[found.verdict], found.score, [str(each) for each in found.suspicions]
    if found.verdict is Verdict.REJECT:
        row.reason, row.ended_at = Reason.FRAUD, as_of


async def _tell(session: WriteSession, row: Referral, as_of: datetime) -> None:
    """Who is under review hears nothing: whoever cheats learns nothing from us."""
    match ReferralState(row.state):
        case ReferralState.CLAIMED:
            await tell(session, row, CLAIMED, as_of)
        case ReferralState.REJECTED:
            await tell(session, row, REJECTED, as_of, sides=[Side.REFERRER])
        case _:
            pass
