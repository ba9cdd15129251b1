"""What events do to referrals: friends qualify, orders are returned, limits are counted, revoked gains are taken back.

Each effect happens while the customer that it concerns is routed, and so locked. What a friend's event means for the
referrer is an event of the referrer's own, which comes round here again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any
from uuid import UUID

from sqlalchemy import select

from database import referrals
from database.events import Event
from database.orders import Order
from database.programmes import LiveProgramme
from database.referral_gains import customer_of, take_back, version_of
from database.referrals import Referral, tell
from database.undertakings import NewUndertaking, undertake
from domain.commerce import ORDER_CANCELLED, ORDER_COMPLETED, ORDER_REFUNDED, text_id
from domain.conditions.memory import Scope, compile_where
from domain.durations import parse_duration
from domain.programmes.definition import Referral as Terms
from domain.programmes.periods import period_of
from domain.referral_holds import REFERRAL_HOLD, ReferralHold
from domain.referral_signals import Suspicion
from domain.referrals import (
    EXPIRED,
    OPEN,
    QUALIFIED,
    REJECTED,
    REVOKED,
    WAITING,
    Holds,
    OrderFacts,
    Person,
    Reason,
    ReferralState,
    Side,
    still_qualifies,
)
from domain.refunds import GivenBack
from triggers.batch import BatchEvent, Wave
from triggers.guests import told_as_guests, told_since
from triggers.refunds import is_revision

_RETURNS = frozenset({ORDER_REFUNDED, ORDER_CANCELLED})


async def follow_referrals(wave: Wave) -> None:
    """Follow the wave's events, in order."""
    programme = wave.programme
    terms = programme.definition.referral if programme is not None else None
    friends = [event for event in wave.events if _is_of_a_friend(event, terms)]
    vouched = {event.customer.id for event in wave.events if event.vouches}
    rows = await referrals.lock_open_of(wave.session, {event.customer.id for event in friends} | vouched)
    if rows.keys() & vouched:
        for event in await told_as_guests(wave, _names(terms)):
            if row := rows.get(event.customer.id):
                await _follow_friend(wave, event, row, programme)
    for event in wave.events:
        if event.is_own and event.event.name in (QUALIFIED, REVOKED):
            await _follow_own(wave, event, programme)
        elif event in friends and (row := rows.get(event.customer.id)):
            await _follow_friend(wave, event, row, programme)


async def leave_referrals(wave: Wave, since: Mapping[UUID, datetime]) -> None:
    """What qualified these friends after a moment is somebody else's now: by what is theirs they may qualify anew.

    What was paid by it is taken back on both sides.
    """
    programme = wave.programme
    for id_, row in (await referrals.lock_open_of(wave.session, since)).items():
        if row.qualified_at is None or row.qualified_at <= since[id_]:
            continue
        if await wave.session.scalar(select(Event.customer_id).where(Event.id == row.event_id)) == id_:
            continue
        if row.state == ReferralState.REWARDED:
            await _end(wave, row, ReferralState.REVOKED, Reason.NOT_THEIRS)
            continue
        await _reopen(wave, row)
        terms = programme.definition.referral if programme is not None else None
        for event in await told_since(wave, {id_: row.claimed_at or since[id_]}, _names(terms)):
            await _follow_friend(wave, event, row, programme)


def _names(terms: Terms | None) -> set[str]:
    """The events that can change where a friend stands."""
    return {*_RETURNS, *((ORDER_COMPLETED, terms.qualifies_on.event) if terms is not None else ())}


def _is_of_a_friend(event: BatchEvent, terms: Terms | None) -> bool:
    """Whether an event can change where a friend stands: a browser's word does not, for it is worth money."""
    if not event.counts_for_value:
        return False
    # Returns, whatever is live now: what was given is taken back.
    return event.event.name in _names(terms) or is_revision(event)


async def _follow_friend(wave: Wave, event: BatchEvent, row: Referral, programme: LiveProgramme | None) -> None:
    if row.order_id is not None and (event.event.name in _RETURNS or is_revision(event)):
        await _recheck(wave, event, row)
    elif _shows_an_older_customer(event, row):
        if row.state in OPEN:
            await _end(wave, row, ReferralState.REJECTED, Reason.EXISTING_CUSTOMER)
        else:  # what was decided stays decided; the shop sees it on the referral and in the doctor
            await referrals.note_earlier_order(wave.session, row)
    elif programme and row.state in WAITING and row.qualified_at is None and not event.is_history:
        await _qualify(wave, event, row, programme)


def _shows_an_older_customer(event: BatchEvent, row: Referral) -> bool:
    made = event.event.timestamp
    return event.event.name == ORDER_COMPLETED and row.claimed_at is not None and made < row.claimed_at


async def _qualify(wave: Wave, event: BatchEvent, row: Referral, programme: LiveProgramme) -> None:
    told, terms = event.event, programme.definition.referral
    if terms is None or told.name != terms.qualifies_on.event or row.programme != programme.key:
        return
    if row.claimed_at is None or told.timestamp < row.claimed_at:
        return
    if told.timestamp >= row.lapses_at:
        await _end(wave, row, ReferralState.EXPIRED, Reason.NOT_QUALIFIED_IN_TIME)
        return
    order_id = text_id(told.properties.get("order_id"))
    if not still_qualifies(told.properties, await _order(wave, order_id), _holds(wave, event, terms)):
        return
    row.qualified_at, row.order_id, row.event_id, row.version = told.timestamp, order_id, told.id, programme.version
    row.rounds += 1
    if row.state == ReferralState.CLAIMED and await _waits_for_a_person(wave, row):
        return
    if row.state == ReferralState.CLAIMED:
        row.state = ReferralState.QUALIFIED
        await wave.session.flush()
        await tell(wave.session, row, QUALIFIED, wave.as_of)


async def _waits_for_a_person(wave: Wave, row: Referral) -> bool:
    """Whether only browsers say that both sides are one person: somebody looks at it before anything is given."""
    known = await referrals.people(wave.session, {row.referrer_id, *filter(None, [row.referee_id])})
    if not referrals.is_doubtful(row, known) or _is_one_person(row, known):
        return False
    await referrals.put_to_review(wave.session, row, Suspicion.SAME_CONTACT)
    return True


def _is_one_person(row: Referral, known: Mapping[UUID, Person]) -> bool:
    return row.referee_id is not None and known[row.referrer_id].is_same_as(known[row.referee_id])


async def _recheck(wave: Wave, event: BatchEvent, row: Referral) -> None:
    """Something of an order came back: before the reward the friend may qualify anew, after it that was all."""
    if text_id(event.event.properties.get("order_id")) != row.order_id:
        return
    version = await version_of(wave.session, row)
    terms = version.definition.referral if version is not None else None
    properties = await wave.session.scalar(select(Event.properties).where(Event.id == row.event_id))
    if terms is None or properties is None:
        return
    if still_qualifies(properties, await _order(wave, row.order_id), _holds(wave, event, terms)):
        return
    if row.state == ReferralState.REWARDED:
        await _end(wave, row, ReferralState.REVOKED, Reason.REFUNDED)
        return
    await _reopen(wave, row)


async def _reopen(wave: Wave, row: Referral) -> None:
    """Back to where the friend stood before qualifying."""
    row.state = ReferralState.CLAIMED if row.state != ReferralState.UNDER_REVIEW else row.state
    row.qualified_at = row.due_at = row.order_id = row.event_id = row.version = None
    await wave.session.flush()


def _holds(wave: Wave, event: BatchEvent, terms: Terms) -> Holds:
    zone, facts = wave.ground_of(event.customer, trusted=True)
    scope = Scope(as_of=wave.as_of, zone=zone, customer=facts)
    judge = compile_where(terms.qualifies_on.where)
    return lambda properties: judge(properties, scope)


async def _order(wave: Wave, order_id: str | None) -> OrderFacts | None:
    """The order as the events up to this wave have left it; None where the event names none that we know."""
    if order_id is None:
        return None
    statement = select(Order.currency, Order.refunded, Order.returned).where(Order.order_id == order_id)
    row = (await wave.session.execute(statement)).one_or_none()
    if row is None:
        return None
    return OrderFacts(row.currency, GivenBack(row.refunded, Fraction(row.returned)))


async def _end(wave: Wave, row: Referral, state: ReferralState, reason: Reason) -> None:
    row.state, row.reason, row.ended_at, row.due_at = state, reason, wave.as_of, None
    await wave.session.flush()
    name = {ReferralState.REVOKED: REVOKED, ReferralState.EXPIRED: EXPIRED}.get(state, REJECTED)
    sides = list(Side) if state is ReferralState.REVOKED else [Side.REFERRER]
    await tell(wave.session, row, name, wave.as_of, sides=sides)


# Own events ----------------------------------------------------------------------------------------------


async def _follow_own(wave: Wave, event: BatchEvent, programme: LiveProgramme | None) -> None:
    told = event.event.properties
    referral_id, side = _id_of(told), told.get("side")
    row = referral_id and await referrals.lock_referral(wave.session, referral_id)
    if not row or side not in list(Side) or event.customer.id != customer_of(row, Side(side)):
        return
    if event.event.name == REVOKED and row.state == ReferralState.REVOKED:
        await take_back(wave.session, row, Side(side), wave.as_of)
    elif event.event.name == QUALIFIED and side == Side.REFERRER and row.state == ReferralState.QUALIFIED:
        is_live = programme is not None and (programme.key, programme.version) == (row.programme, row.version)
        decided = programme if is_live else await version_of(wave.session, row)
        if decided is not None:
            await _hold(wave, row, decided)


def _id_of(told: Mapping[str, Any]) -> UUID | None:
    try:
        return UUID(str(told.get("referral_id")))
    except ValueError:
        return None


async def _hold(wave: Wave, row: Referral, programme: LiveProgramme) -> None:
    """Count a friend towards the referrer's limit, under the referrer's lock, and begin the hold: by the version that
    the friend qualified by, whatever is live now. It is paid once a programme is.
    """
    terms = programme.definition.referral
    if terms is None or row.qualified_at is None or row.referee_id is None:
        return
    known = await referrals.people(wave.session, {row.referrer_id, row.referee_id})
    if _is_one_person(row, known):
        await _end(wave, row, ReferralState.REJECTED, Reason.SELF_REFERRAL)
    elif await _is_beyond_limit(wave, row, terms, programme):
        await _end(wave, row, ReferralState.REJECTED, Reason.LIMIT_REACHED)
    else:
        row.state = ReferralState.HELD
        row.due_at = _later(row.qualified_at, terms.hold, programme)
        await wave.session.flush()
        await undertake(wave.session, [_hold_undertaking(row, row.due_at)], wave.as_of)


async def _is_beyond_limit(wave: Wave, row: Referral, terms: Terms, programme: LiveProgramme) -> bool:
    limit = terms.limit
    if limit is None or row.qualified_at is None:
        return False
    period = period_of(row.qualified_at, limit.per, programme.zone) if limit.per is not None else None
    since, until = period or (None, None)
    taken = await referrals.counted(wave.session, programme.key, row.referrer_id, since, until)
    return taken >= limit.per_referrer


def _later(moment: datetime, length: str, programme: LiveProgramme) -> datetime:
    return parse_duration(length).after(moment.astimezone(programme.zone)).astimezone(UTC)


def _hold_undertaking(row: Referral, due_at: datetime) -> NewUndertaking:
    """The hold's workflow; each round of qualifying has one of its own."""
    given = ReferralHold(referral_id=row.id, due_at=due_at).model_dump(mode="json")
    shown = {"summary": "A referral's hold: both sides are rewarded when it ends"}
    return NewUndertaking(f"referral/{row.id}/{row.rounds}", REFERRAL_HOLD, given, due_at, shown)
