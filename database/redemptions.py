"""Redemptions: rows, giving a reward for nothing, and the changes from one state to the next.

What moves points for them is database/redeeming.py. The customer is locked by the caller, before everything here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, ForeignKey, Index, and_, or_, select, text, tuple_, update
from sqlalchemy.orm import Mapped, mapped_column

from database import coupons
from database.announcements import Announcement, announce
from database.base import Table
from database.point_boosts import raise_multiplier
from database.rewards import PublishedReward, published_reward, put_back, take_from_stock
from database.session import ReadSession, WriteSession
from database.undertakings import NewUndertaking, undertake
from domain.durations import parse_duration
from domain.ids import new_id
from domain.redemptions import RESERVED_FOR, UNKNOWN_REWARD, Given, NotGiven, RedemptionState
from domain.rewards import GeneratedCodes, GiftCard, PointsMultiplier, Reason, RewardDefinition

WORKFLOW = "Redemption"
_PATIENCE = timedelta(hours=1)
"""Beyond the shop's time to deliver, before asking it counts as overdue."""


class Redemption(Table):
    """One reward that one customer got. `points` were paid for it, under `key`; 0: it was given."""

    __tablename__ = "redemptions"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))
    reward: Mapped[str]
    version: Mapped[int]
    key: Mapped[str]  # natural and unique: the same key never gives twice
    is_given: Mapped[bool] = mapped_column(server_default=text("false"))
    is_delivered: Mapped[bool] = mapped_column(server_default=text("false"))  # by the shop: its code is shown then
    points: Mapped[int] = mapped_column(server_default=text("0"))
    programme: Mapped[str | None]  # whose points
    hold_id: Mapped[UUID | None]
    state: Mapped[str]  # RedemptionState
    code: Mapped[str | None]
    requested_at: Mapped[datetime]
    issued_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]  # of the state it is in; null: never
    reason: Mapped[str | None]  # why it ended
    review: Mapped[str | None]  # why a person has to look at it
    is_doubtful: Mapped[bool] = mapped_column(server_default=text("false"))  # the shop may be delivering it

    def is_over(self, as_of: datetime) -> bool:
        """Whether its time is up, swept or not. Nothing lapses while the shop may be delivering it."""
        is_waiting = self.is_doubtful or self.review is not None
        return self.expires_at is not None and self.expires_at <= as_of and not is_waiting

    __table_args__ = (
        Index("uq_redemptions_key", "key", unique=True),
        Index("ix_redemptions_customer", "customer_id", "requested_at"),
        Index("ix_redemptions_reward", "reward", "requested_at"),
        Index("ix_redemptions_requested_at", "requested_at", "id"),
        Index(
            "ix_redemptions_due",
            "expires_at",
            postgresql_where=text(
                "state IN ('reserved', 'issued') AND expires_at IS NOT NULL AND review IS NULL AND NOT is_doubtful"
            ),
        ),
        Index("ix_redemptions_review", "requested_at", "id", postgresql_where=text("review IS NOT NULL")),
    )


async def give(
    session: WriteSession,
    customer_id: UUID,
    reward: str,
    key: str,
    as_of: datetime,
    *,
    expires: datetime | None = None,
) -> Given | NotGiven:
    """Give a reward for nothing: by a journey's step, a referral, a challenge. The same key gives once, ever.

    Stock and codes are taken, price, eligibility and limits per customer do not matter. `expires` instead of what the
    reward says. Nothing is written when it is NotGiven. The caller has locked the customer.
    """
    if earlier := await _under_key(session, key):
        return given_by(earlier, repeated=True)
    published = await published_reward(session, reward)
    if published is None:
        return NotGiven(UNKNOWN_REWARD)
    if not published.is_live:
        return NotGiven(Reason.NOT_LIVE)
    redemption = await reserve(session, customer_id, published, key=key, as_of=as_of)
    if isinstance(redemption, Reason):
        return NotGiven(redemption)
    await follow_reservation(session, redemption, published.definition, as_of, expires=expires)
    return given_by(redemption)


def given_by(row: Redemption, *, repeated: bool = False) -> Given:
    """What the customer has by a redemption."""
    return Given(row.id, row.reward, RedemptionState(row.state), shown_code(row), row.expires_at, repeated)


def shown_code(row: Redemption) -> str | None:
    """The code as the customer may see it: not before it is issued, nor delivered where the shop has to, for until then
    it may go back to its pool.
    """
    is_theirs = row.state == RedemptionState.FULFILLED or (row.issued_at is not None and not row.is_delivered)
    return row.code if is_theirs else None


async def _under_key(session: ReadSession, key: str) -> Redemption | None:
    return (await session.execute(select(Redemption).where(Redemption.key == key))).scalar_one_or_none()


# From nothing to issued ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Payment:
    """What is held for a redemption; nothing, where it costs nothing."""

    redemption_id: UUID
    points: int = 0
    programme: str | None = None
    hold_id: UUID | None = None


async def reserve(
    session: WriteSession,
    customer_id: UUID,
    published: PublishedReward,
    *,
    key: str,
    as_of: datetime,
    payment: Payment | None = None,
) -> Redemption | Reason:
    """One of the stock, a code and the row; the reason when there is none left, and then nothing is written.

    Without a payment it is a gift, which limits per customer do not count.
    """
    definition, paid = published.definition, payment or Payment(new_id())
    if not await take_from_stock(session, definition):
        return Reason.SOLD_OUT
    code = await _code_for(session, definition)
    if code is None and definition.code_source is not None:
        await put_back(session, [definition.reward])
        return Reason.NO_CODES_LEFT
    row = Redemption(
        id=paid.redemption_id,
        customer_id=customer_id,
        reward=published.key,
        version=published.version,
        key=key,
        is_given=payment is None,
        is_delivered=definition.fulfil is not None,
        points=paid.points,
        programme=paid.programme,
        hold_id=paid.hold_id,
        is_doubtful=False,
        state=RedemptionState.RESERVED,
        code=code,
        requested_at=as_of,
        expires_at=as_of + RESERVED_FOR,
    )
    session.add(row)
    await session.flush()
    if code is not None:
        uses = None if isinstance(definition.gives, GiftCard) else 1
        await coupons.own(session, code, version=row.version, customer_id=customer_id, redemption_id=row.id, uses=uses)
    return row


async def _code_for(session: WriteSession, reward: RewardDefinition) -> str | None:
    match reward.code_source:
        case "pool":
            return await coupons.take_pooled(session, reward.reward)
        case GeneratedCodes() as form:
            return await coupons.make_code(session, reward.reward, form)
        case None:
            return None


async def follow_reservation(
    session: WriteSession,
    row: Redemption,
    reward: RewardDefinition,
    as_of: datetime,
    *,
    expires: datetime | None = None,
) -> None:
    """Tell of it; issue it at once where nobody outside has to deliver, else start the workflow that asks the shop."""
    await announce(session, [_announcement(row, "Reward Redeemed", "redeemed")], as_of)
    if reward.fulfil is None:
        await mark_issued(session, row, reward, as_of, expires=expires)
        return
    given = {"redemption_id": str(row.id)}
    shown = {"attributes": {"CustomerId": str(row.customer_id)}, "summary": f"Redemption of {row.reward}"}
    due = parse_duration(reward.fulfil.within).after(as_of) + _PATIENCE
    await undertake(session, [NewUndertaking(workflow_of(row.id), WORKFLOW, given, due, shown)], as_of)


def workflow_of(redemption_id: UUID) -> str:
    """The id of the workflow that asks the shop to deliver."""
    return f"redemption/{redemption_id}"


async def mark_issued(
    session: WriteSession,
    row: Redemption,
    reward: RewardDefinition,
    as_of: datetime,
    *,
    expires: datetime | None = None,
) -> None:
    """It is the customer's now, or the shop's to deliver. Points that were held are spent by the caller."""
    lasting = None if reward.lasts is None else parse_duration(reward.lasts).after(as_of)
    row.state, row.issued_at, row.expires_at = RedemptionState.ISSUED, as_of, expires or lasting
    await session.flush()
    if not row.is_delivered:
        await coupons.activate(session, row.id, valid_until=row.expires_at)
    await announce(session, [_announcement(row, "Reward Issued", "issued")], as_of)
    if isinstance(reward.gives, PointsMultiplier):
        await _multiply(session, row, reward.gives, as_of)


async def _multiply(session: WriteSession, row: Redemption, gives: PointsMultiplier, as_of: datetime) -> None:
    """It is in force at once, so there is nothing left to deliver, and nothing that could be taken back."""
    end = parse_duration(gives.lasts).after(as_of)
    key = f"redemption/{row.id}"
    await raise_multiplier(session, row.customer_id, key=key, by=gives.points_multiplier, start=as_of, end=end)
    await mark_fulfilled(session, row, as_of)


def _announcement(row: Redemption, name: str, word: str) -> Announcement:
    properties = {"redemption_id": str(row.id), "reward": row.reward, "points": row.points, "given": row.is_given}
    code = shown_code(row)
    shown = {"code": code, "expires_at": row.expires_at and row.expires_at.isoformat()}
    told = properties | (shown if code is not None else {})
    return Announcement(row.customer_id, name, f"redemption/{row.id}/{word}", told)


# Ends ----------------------------------------------------------------------------------------------------


async def mark_fulfilled(session: WriteSession, row: Redemption, as_of: datetime) -> None:
    """The customer has it, with its code."""
    row.state, row.ended_at, row.review = RedemptionState.FULFILLED, as_of, None
    await session.flush()
    await coupons.activate(session, row.id, valid_until=row.expires_at)
    await announce(session, [_announcement(row, "Reward Fulfilled", "fulfilled")], as_of)


async def mark_cancelled(session: WriteSession, row: Redemption, reason: str, as_of: datetime) -> None:
    """It is over, and one more is in stock. Points are given back by the caller."""
    await put_back(session, [row.reward])
    await coupons.give_up(session, row.id)
    row.state, row.ended_at, row.reason, row.review = RedemptionState.CANCELLED, as_of, reason, None
    await session.flush()
    await announce(session, [_announcement(row, "Reward Cancelled", "cancelled")], as_of)


async def mark_expired(session: WriteSession, row: Redemption, as_of: datetime) -> None:
    """Its time is over. Before it was issued all goes back (held points by the ledger itself, at the same instant);
    after that it is forfeited.
    """
    if row.issued_at is None:
        await put_back(session, [row.reward])
    await coupons.give_up(session, row.id)
    row.state, row.ended_at, row.reason = RedemptionState.EXPIRED, as_of, "time_over"
    await session.flush()
    await announce(session, [_announcement(row, "Reward Expired", "expired")], as_of)


async def let_go(session: WriteSession, customer_ids: Collection[UUID]) -> None:
    """Put back what is only reserved for customers who are erased: one of the stock each, and the codes that nobody has
    seen. Nobody is told; the rows are blanked by the erasure.
    """
    reserved = (
        select(Redemption)
        .where(Redemption.customer_id.in_(customer_ids), Redemption.state == RedemptionState.RESERVED)
        .order_by(Redemption.id)
        .with_for_update()
    )
    rows = (await session.execute(reserved.execution_options(populate_existing=True))).scalars().all()
    await put_back(session, [row.reward for row in rows])
    for row in rows:
        await coupons.give_up(session, row.id)


async def mark_for_review(session: WriteSession, row: Redemption, reason: str) -> None:
    """Nobody knows whether the shop has delivered: a person says it, by /fulfil or /cancel; nothing lapses before."""
    row.review = reason
    await session.flush()


async def reopen(session: WriteSession, redemption_ids: Collection[UUID]) -> None:
    """The order that a coupon was used on is cancelled: the redemption is as it was when it was issued."""
    used = update(Redemption).where(
        Redemption.id.in_(redemption_ids), Redemption.state == RedemptionState.FULFILLED, ~Redemption.is_delivered
    )
    await session.execute(used.values(state=RedemptionState.ISSUED, ended_at=None))


async def fulfil_used(session: WriteSession, redemption_ids: Collection[UUID], as_of: datetime) -> None:
    """Their coupons were used: the customers have what they paid for."""
    issued = update(Redemption).where(Redemption.id.in_(redemption_ids), Redemption.state == RedemptionState.ISSUED)
    await session.execute(issued.values(state=RedemptionState.FULFILLED, ended_at=as_of, review=None))


# Reading -------------------------------------------------------------------------------------------------


async def find_redemption(session: ReadSession, redemption_id: UUID) -> Redemption | None:
    """One redemption."""
    return await session.get(Redemption, redemption_id, populate_existing=True)


async def lock_redemption(session: WriteSession, redemption_id: UUID) -> Redemption | None:
    """The same, locked: of two that would end it the second sees how the first has."""
    return await session.get(Redemption, redemption_id, populate_existing=True, with_for_update=True)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which redemptions a list shows; None: all."""

    customer_id: UUID | None = None
    reward: str | None = None
    state: RedemptionState | None = None
    review: bool | None = None


async def page_of_redemptions(
    session: ReadSession, wanted: Wanted, *, before: tuple[datetime, UUID] | None, limit: int
) -> Sequence[Redemption]:
    """Redemptions, the latest first."""
    conditions: list[ColumnElement[bool]] = []
    if wanted.customer_id is not None:
        conditions.append(Redemption.customer_id == wanted.customer_id)
    if wanted.reward is not None:
        conditions.append(Redemption.reward == wanted.reward)
    if wanted.state is not None:
        conditions.append(Redemption.state == wanted.state)
    if wanted.review is not None:
        conditions.append(Redemption.review.is_not(None) if wanted.review else Redemption.review.is_(None))
    if before is not None:
        conditions.append(tuple_(Redemption.requested_at, Redemption.id) < before)
    ordered = select(Redemption).order_by(Redemption.requested_at.desc(), Redemption.id.desc())
    return (await session.execute(ordered.where(*conditions).limit(limit))).scalars().all()


async def bought_by(session: ReadSession, customer_id: UUID) -> Mapping[str, Sequence[datetime]]:
    """When the customer bought each reward. Only what was kept or forfeited counts: cancelled ones came back."""
    kept = or_(
        Redemption.state.in_([RedemptionState.RESERVED, RedemptionState.ISSUED, RedemptionState.FULFILLED]),
        and_(Redemption.state == RedemptionState.EXPIRED, Redemption.issued_at.is_not(None)),
    )
    statement = select(Redemption.reward, Redemption.requested_at).where(
        Redemption.customer_id == customer_id, ~Redemption.is_given, kept
    )
    found: dict[str, list[datetime]] = {}
    for reward, at in await session.execute(statement):
        found.setdefault(reward, []).append(at)
    return found


async def due_redemptions(session: ReadSession, as_of: datetime, *, limit: int) -> Sequence[tuple[UUID, UUID]]:
    """(customer, redemption) of those whose time is over, the earliest first. Relies on ix_redemptions_due."""
    statement = (
        select(Redemption.customer_id, Redemption.id)
        .where(
            Redemption.state.in_([RedemptionState.RESERVED, RedemptionState.ISSUED]),
            Redemption.expires_at <= as_of,
            Redemption.review.is_(None),
            ~Redemption.is_doubtful,
        )
        .order_by(Redemption.expires_at, Redemption.id)
        .limit(limit)
    )
    return [(customer, id_) for customer, id_ in await session.execute(statement)]
