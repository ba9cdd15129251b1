"""Referrals after a merge: both ends of each row name the survivor, and what no longer may be, ends.

A referrer who turns out to be the friend, a friend who was referred twice or had ordered before, a ring: such a
referral is rejected, or revoked if it was paid already (its gains are then taken back under each side's lock).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import or_, select, update

from database import referrals
from database.customers import Customer
from database.orders import Order
from database.referrals import Referral, tell
from database.session import WriteSession
from domain.referrals import OPEN, REJECTED, REVOKED, UNIQUE, Reason, ReferralState, Side

_NEVER = datetime.max.replace(tzinfo=UTC)


async def follow_merge(session: WriteSession, survivor: UUID, as_of: datetime) -> None:
    """Pass the referrals of all who were merged into a customer to that customer. The survivor is locked."""
    merged = select(Customer.id).where(Customer.merged_into == survivor)
    ids = [survivor, *(await session.execute(merged)).scalars()]
    rows = await _lock_rows(session, ids)
    if not rows:
        return
    ended = [(row, Reason.SELF_REFERRAL) for row in rows if row.referrer_id in ids and row.referee_id in ids]
    ended += [(row, Reason.ALREADY_REFERRED) for row in _doubles(rows, ids)]
    for row, reason in ended:
        if row.state in UNIQUE:
            await _end(session, row, reason, as_of)
    await _repoint(session, ids, survivor)
    rows = await _lock_rows(session, [survivor])
    for row in rows:
        if row.referee_id == survivor and row.state in UNIQUE and (fault := await _fault(session, row)):
            await _end(session, row, fault, as_of)
    await _tell(session, rows, as_of)


async def _lock_rows(session: WriteSession, ids: Sequence[UUID]) -> Sequence[Referral]:
    theirs = or_(Referral.referrer_id.in_(ids), Referral.referee_id.in_(ids))
    statement = select(Referral).where(theirs).order_by(Referral.id).with_for_update()
    return (await session.execute(statement.execution_options(populate_existing=True))).scalars().all()


def _doubles(rows: Sequence[Referral], ids: Sequence[UUID]) -> list[Referral]:
    """Of several live referrals of one friend all but one: what is paid stays, else what was claimed first."""
    live = [row for row in rows if row.referee_id in ids and row.referrer_id not in ids and row.state in UNIQUE]
    live.sort(key=lambda row: (row.state != ReferralState.REWARDED, row.claimed_at or _NEVER, row.id))
    first = {row.programme: row for row in reversed(live)}
    return [row for row in live if row is not first[row.programme]]


async def _repoint(session: WriteSession, ids: Sequence[UUID], survivor: UUID) -> None:
    for column in (Referral.referrer_id, Referral.referee_id):
        await session.execute(update(Referral).where(column.in_(ids), column != survivor).values({column: survivor}))


async def _fault(session: WriteSession, row: Referral) -> Reason | None:
    """What is wrong with a survivor's own referral now: a ring, or, where nothing is paid yet, an earlier order."""
    assert row.referee_id is not None  # noqa: S101  the caller chose it by its referee
    if row.referee_id in await referrals.chain_above(session, row.referrer_id):
        return Reason.CIRCULAR_REFERRAL
    ordered = select(Order.order_id).where(Order.customer_id == row.referee_id, Order.completed_at < row.claimed_at)
    if (await session.execute(ordered.limit(1))).first() is None:
        return None
    if row.state in OPEN:
        return Reason.EXISTING_CUSTOMER
    await referrals.note_earlier_order(session, row)
    return None


async def _end(session: WriteSession, row: Referral, reason: Reason, as_of: datetime) -> None:
    is_paid = row.state == ReferralState.REWARDED
    row.state = ReferralState.REVOKED if is_paid else ReferralState.REJECTED
    row.reason, row.ended_at, row.due_at = reason, as_of, None
    await session.flush()


async def _tell(session: WriteSession, rows: Sequence[Referral], as_of: datetime) -> None:
    for row in rows:
        if row.ended_at == as_of and row.state == ReferralState.REVOKED:
            await tell(session, row, REVOKED, as_of)
        elif row.ended_at == as_of and row.state == ReferralState.REJECTED:
            await tell(session, row, REJECTED, as_of, sides=[Side.REFERRER])
