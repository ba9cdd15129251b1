"""Ending holds: both sides are rewarded in one transaction, under both customers' locks. And what lapses, lapses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select
from temporalio import activity
from temporalio.exceptions import ApplicationError

from database import customers, referrals
from database.erased_friends import was_brought_before_erasure
from database.events import Event
from database.programmes import live_programme
from database.referral_gains import pay, version_of
from database.referrals import Referral, tell
from database.session import Database, ReadSession, WriteSession
from database.undertakings import conclude
from domain.commerce import ORDER_CANCELLED, ORDER_REFUNDED
from domain.referral_holds import ReferralDue
from domain.referral_signals import Suspicion
from domain.referrals import EXPIRED, REJECTED, REWARDED, Reason, ReferralState, Side
from domain.refunds import ORDER_REVISED

PAGE = 200
_RETURNS = (ORDER_REFUNDED, ORDER_CANCELLED, ORDER_REVISED)
_SOON = timedelta(seconds=2)


class ReferralActivities:
    """What the workflow of a hold does at its end."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @activity.defn
    async def reward_referral(self, asked: ReferralDue) -> bool:
        """Reward both sides of one referral whose hold is over; whether it did. Repeatable: the row says what is due.

        Raises a retryable ApplicationError while a return of the friend's waits to be routed.
        """
        async with self._database.transaction() as session:
            done = await reward(session, asked.referral_id, asked.as_of)
            if done is not None:
                await conclude(session, [activity.info().workflow_id or ""], asked.as_of)
        if done is None:
            raise ApplicationError("a return waits to be routed", type="return_pending", next_retry_delay=_SOON)
        return done


async def settle_referrals(database: Database, as_of: datetime) -> int:
    """Reward whatever is due, and end what has lapsed: what no workflow has done, Temporal having been away."""
    done, after = 0, None
    while ids := await _due(database, as_of, after):
        for referral_id in ids:
            async with database.transaction() as session:
                done += bool(await reward(session, referral_id, as_of))
        after = ids[-1]
        activity.heartbeat(str(after))
    while count := await _lapse(database, as_of):
        done += count
        activity.heartbeat(f"{done} done")
    return done


async def _due(database: Database, as_of: datetime, after: UUID | None) -> Sequence[UUID]:
    async with database.read() as session:
        return await referrals.due(session, as_of, after, PAGE)


async def _lapse(database: Database, as_of: datetime) -> int:
    async with database.transaction() as session:
        rows = await referrals.lapse(session, as_of, PAGE)
        for row in rows:
            await tell(session, row, EXPIRED, as_of, sides=[Side.REFERRER])
    return len(rows)


async def reward(session: WriteSession, referral_id: UUID, as_of: datetime) -> bool | None:
    """Pay both sides of a referral whose hold ended by `as_of`. None: a return of the friend's is not routed yet."""
    found = await session.get(Referral, referral_id)
    if found is None or found.referee_id is None:
        return False
    ends = {found.referrer_id, found.referee_id}
    await customers.lock(session, ends, skip_locked=False)
    row = await referrals.lock_referral(session, referral_id)
    if row is None or row.referee_id is None or {row.referrer_id, row.referee_id} != ends:
        return None  # merged meanwhile: the next try locks the survivors
    if row.state != ReferralState.HELD or row.due_at is None or row.due_at > as_of:
        return False
    if await _has_pending_return(session, row.referee_id):
        return None
    return await _pay_both(session, row, row.referee_id, as_of)


async def _pay_both(session: WriteSession, row: Referral, referee_id: UUID, as_of: datetime) -> bool:
    programme, live = await version_of(session, row), await live_programme(session)
    if programme is None or live is None:
        return False  # nothing moves while no programme is live
    people = await referrals.people(session, {row.referrer_id, referee_id})
    if referrals.is_doubtful(row, people) and not people[row.referrer_id].is_same_as(people[referee_id]):
        await referrals.put_to_review(session, row, Suspicion.SAME_CONTACT)
        return False
    refusal = Reason.SELF_REFERRAL if people[row.referrer_id].is_same_as(people[referee_id]) else None
    if refusal is None and await was_brought_before_erasure(session, referee_id):
        refusal = Reason.ALREADY_REFERRED
    if refusal is not None:
        row.state, row.reason, row.ended_at = ReferralState.REJECTED, refusal, as_of
        await session.flush()
        await tell(session, row, REJECTED, as_of, sides=[Side.REFERRER])
        return False
    row.state, row.rewarded_at = ReferralState.REWARDED, as_of
    await session.flush()
    for side in Side:
        given = await pay(session, row, side, programme, as_of, payer=live.key)
        await tell(session, row, REWARDED, as_of, sides=[side], properties=given)
    return True


async def _has_pending_return(session: ReadSession, referee_id: UUID) -> bool:
    """Whether a return, the friend's or told by somebody else, waits for the router. By ix_events_pending_subject."""
    subjects = await referrals.subjects_of(session, referee_id)
    waiting = (Event.status == "pending", Event.subject.in_(subjects), Event.name.in_(_RETURNS), Event.trusted)
    pending = select(Event.id).where(*waiting)
    return (await session.execute(pending.limit(1))).first() is not None
