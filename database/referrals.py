"""Referrals: who brought whom, and where each friend stands. Rules: domain/referrals.py.

A row is locked after the customers that it concerns (referrer, referee, or both), never before: whoever pays a
customer holds that customer. Customers stand here without a foreign key and under other names than `customer_id`: a
merge has to look at both ends of a row before it changes one (database/referral_merging.py).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, Select, SmallInteger, and_, func, literal, or_, select, text, update
from sqlalchemy.orm import Mapped, mapped_column

from database.announcements import Announcement, announce
from database.base import JsonList, Table, among
from database.customers import Customer, Identity
from database.events import Event
from database.orders import Order
from database.session import ReadSession, WriteSession
from domain.commerce import ORDER_COMPLETED, OrderState
from domain.customers import is_trusted
from domain.identities import IdKind
from domain.referral_signals import WEIGHTS, Suspicion
from domain.referrals import CLAIMED, COUNTED, UNIQUE, Person, ReferralState, Side

_LIVE = ", ".join(f"'{state}'" for state in sorted(UNIQUE))


class Referral(Table):
    """One friend, or one invitation that nobody has claimed yet. Only our own uuid says who the friend is."""

    __tablename__ = "referrals"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    programme: Mapped[str]
    referrer_id: Mapped[UUID]
    referee_id: Mapped[UUID | None]
    token: Mapped[str | None]  # of an invitation: the end of its link
    code: Mapped[str | None]  # by which it was claimed
    state: Mapped[str]  # domain.referrals.ReferralState
    reason: Mapped[str | None]  # domain.referrals.Reason
    invited_at: Mapped[datetime | None]
    clicked_at: Mapped[datetime | None]
    claimed_at: Mapped[datetime | None]
    qualified_at: Mapped[datetime | None]
    due_at: Mapped[datetime | None]  # when the hold ends
    rewarded_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    lapses_at: Mapped[datetime]  # an invitation or claim is good until then
    version: Mapped[int | None]  # of the programme by which it qualified
    event_id: Mapped[UUID | None]  # by which it qualified
    order_id: Mapped[str | None]  # that the event named
    rounds: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))  # how often it qualified
    score: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    suspicions: Mapped[JsonList] = mapped_column(server_default=text("'[]'"))  # domain.referral_signals.Suspicion

    __table_args__ = (
        Index("uq_referrals_token", "token", unique=True),
        # The last line of "one referral a friend"; claims look for any row under the friend's lock.
        Index(
            "uq_referrals_referee",
            "programme",
            "referee_id",
            unique=True,
            postgresql_where=text(f"state IN ({_LIVE})"),
        ),
        Index("ix_referrals_referee_id", "referee_id"),
        Index("ix_referrals_referrer_id", "referrer_id", "id"),
        Index("ix_referrals_due", "due_at", postgresql_where=text("state = 'held'")),
        Index(
            "ix_referrals_lapsing",
            "lapses_at",
            postgresql_where=text("state IN ('invited', 'clicked', 'claimed', 'under_review')"),
        ),
        Index("ix_referrals_review", "id", postgresql_where=text("state = 'under_review'")),
    )


_LOCKED = select(Referral).order_by(Referral.id).with_for_update().execution_options(populate_existing=True)


async def lock_referral(session: WriteSession, referral_id: UUID) -> Referral | None:
    """One referral, locked and as it is now."""
    return (await session.execute(_LOCKED.where(Referral.id == referral_id))).scalar_one_or_none()


async def lock_open_of(session: WriteSession, referees: Collection[UUID]) -> dict[UUID, Referral]:
    """The referral of each of these friends that can still pay or be revoked, locked."""
    if not referees:
        return {}
    rows = (
        await session.execute(_LOCKED.where(among(Referral.referee_id, referees), Referral.state.in_(UNIQUE)))
    ).scalars()
    return {row.referee_id: row for row in rows if row.referee_id is not None}


async def claimed_by(session: ReadSession, referee_id: UUID) -> Referral | None:
    """The friend's latest claim, whatever became of it."""
    statement = select(Referral).where(Referral.referee_id == referee_id).order_by(Referral.claimed_at.desc())
    return (await session.execute(statement.limit(1))).scalar_one_or_none()


async def invitation(session: ReadSession, token: str) -> UUID | None:
    """The referral of an invitation's link. By uq_referrals_token."""
    return await session.scalar(select(Referral.id).where(Referral.token == token))


async def has_ordered(session: ReadSession, customer_id: UUID) -> bool:
    """Whether the customer has an order, or one that is stored and not routed yet."""
    orders = select(Order.order_id).where(Order.customer_id == customer_id, Order.state != OrderState.STARTED)
    if (await session.execute(orders.limit(1))).first() is not None:
        return True
    subjects = await subjects_of(session, customer_id)
    # By ix_events_pending_subject.
    pending = select(Event.id).where(
        Event.status == "pending", Event.name == ORDER_COMPLETED, among(Event.subject, subjects), Event.trusted
    )
    return (await session.execute(pending.limit(1))).first() is not None


async def subjects_of(session: ReadSession, customer_id: UUID) -> Sequence[str]:
    """Under which subjects events of a known customer come in."""
    named = select(literal("u:") + Identity.value).where(
        Identity.customer_id == customer_id, Identity.kind == IdKind.USER
    )
    return (await session.execute(named)).scalars().all()


# Whoever referred this customer, whoever referred them, and so on. By ix_referrals_referee_id.
_CHAIN = text("""
    WITH RECURSIVE chain (customer_id) AS (
        SELECT CAST(:start AS uuid)
        UNION
        SELECT referrals.referrer_id FROM referrals JOIN chain ON referrals.referee_id = chain.customer_id
        WHERE referrals.state = ANY(:live)
    )
    SELECT customer_id FROM chain
""")


async def chain_above(session: ReadSession, customer_id: UUID) -> frozenset[UUID]:
    """The customer, who referred them, and so on up."""
    found = await session.execute(_CHAIN, {"start": customer_id, "live": sorted(UNIQUE)})
    return frozenset(found.scalars())


async def lock_claims(session: WriteSession) -> None:
    """Let claims follow one another: four people could close a ring by claims that share nobody. Until the end."""
    await session.execute(text("SELECT pg_advisory_xact_lock(hashtext('referral claims'))"))


async def people(session: ReadSession, ids: Collection[UUID]) -> dict[UUID, Person]:
    """What tells whether customers are one person."""
    contact = ("email", "phone")
    rows = await session.execute(
        select(
            *(Customer.id, Customer.email, Customer.traits["phone"].astext.label("phone")),
            *(Customer.trait_times[trait].label(f"{trait}_writer") for trait in contact),
        ).where(among(Customer.id, ids))
    )
    return {
        row.id: Person(
            *(row.id, row.email, row.phone),
            frozenset(trait for trait in contact if not is_trusted(getattr(row, f"{trait}_writer") or ())),
        )
        for row in rows
    }


async def put_to_review(session: WriteSession, row: Referral, found: Suspicion) -> None:
    """Let a person decide before the referral goes on. Who approves it has seen this: it is not asked about again."""
    row.state = ReferralState.UNDER_REVIEW
    row.suspicions = sorted({*row.suspicions, str(found)})
    row.score += WEIGHTS[found]
    await session.flush()


async def note_earlier_order(session: WriteSession, row: Referral) -> None:
    """Keep that the friend had ordered before the claim, which came out after the reward."""
    if Suspicion.ORDERED_BEFORE not in row.suspicions:
        row.suspicions = sorted({*row.suspicions, str(Suspicion.ORDERED_BEFORE)})
        await session.flush()


def is_doubtful(row: Referral, known: Mapping[UUID, Person]) -> bool:
    """Whether both sides may be one person by what browsers named, and no person has looked at that yet."""
    if row.referee_id is None or Suspicion.SAME_CONTACT in row.suspicions:
        return False
    return known[row.referrer_id].may_be(known[row.referee_id])


async def counted(
    session: ReadSession, programme: str, referrer_id: UUID, since: datetime | None, until: datetime | None
) -> int:
    """How many friends of a referrer count towards the limit in a period, by when they qualified."""
    held = and_(Referral.state == ReferralState.UNDER_REVIEW, Referral.due_at.is_not(None))  # at the end of its hold
    statement = select(func.count()).where(
        Referral.programme == programme, Referral.referrer_id == referrer_id, or_(Referral.state.in_(COUNTED), held)
    )
    if since is not None and until is not None:
        statement = statement.where(Referral.qualified_at >= since, Referral.qualified_at < until)
    return await session.scalar(statement) or 0


async def lapse(session: WriteSession, as_of: datetime, limit: int) -> Sequence[Referral]:
    """End what nobody claimed or qualified for in time; answers the rows. By ix_referrals_lapsing."""
    due = (
        select(Referral.id)
        .where(Referral.lapses_at <= as_of, Referral.state.in_(_LAPSING), Referral.qualified_at.is_(None))
        .order_by(Referral.lapses_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ended = (
        update(Referral)
        .where(Referral.id.in_(due.scalar_subquery()))
        .values(state=ReferralState.EXPIRED, reason="not_qualified_in_time", ended_at=as_of)
        .returning(Referral)
        .execution_options(populate_existing=True)
    )
    return (await session.execute(ended)).scalars().all()


_LAPSING = (
    *(ReferralState.INVITED, ReferralState.CLICKED),
    *(ReferralState.CLAIMED, ReferralState.UNDER_REVIEW),
)


async def due(session: ReadSession, as_of: datetime, after: UUID | None, limit: int) -> Sequence[UUID]:
    """Referrals whose hold has ended, in the order of their ids. By ix_referrals_due."""
    statement = select(Referral.id).where(Referral.state == ReferralState.HELD, Referral.due_at <= as_of)
    statement = statement if after is None else statement.where(Referral.id > after)
    return (await session.execute(statement.order_by(Referral.id).limit(limit))).scalars().all()


def listed(*, referrer_id: UUID | None = None, state: str | None = None) -> Select[Referral]:
    """Referrals, the latest first; a page is taken by `Referral.id < before`."""
    statement = select(Referral).order_by(Referral.id.desc())
    if referrer_id is not None:
        statement = statement.where(Referral.referrer_id == referrer_id)
    return statement if state is None else statement.where(Referral.state == state)


async def states_of(session: ReadSession, referrer_id: UUID) -> Mapping[str, int]:
    """State -> how many friends of the referrer stand there."""
    statement = (
        select(Referral.state, func.count().label("friends"))
        .where(Referral.referrer_id == referrer_id)
        .group_by(Referral.state)
    )
    return {row.state: row.friends for row in await session.execute(statement)}


async def tell(
    session: WriteSession,
    referral: Referral,
    name: str,
    as_of: datetime,
    *,
    sides: Collection[Side] = (Side.REFERRER, Side.REFEREE),
    properties: Mapping[str, Any] | None = None,  # any JSON object
) -> None:
    """Announce what happened to a referral, to each side apart: each round of qualifying anew, the claim once."""
    who = {Side.REFERRER: referral.referrer_id, Side.REFEREE: referral.referee_id}
    about = {"referral_id": str(referral.id), "state": referral.state, **(properties or {})}
    what = name.removeprefix("Referral ").lower()
    round_ = 0 if name == CLAIMED else referral.rounds
    await announce(
        session,
        [
            Announcement(
                customer_id,
                name,
                f"referral/{referral.id}/{round_}/{what}/{side}",
                {**about, "side": str(side), **({"reason": referral.reason} if referral.reason else {})},
            )
            for side in sides
            if (customer_id := who[side]) is not None
        ],
        as_of,
    )
