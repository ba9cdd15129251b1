"""Coupons: codes that are good for a discount, and their uses, each a row that is held, used or released.

A code is one row forever, so it never has two owners: pooled codes wait for one, active ones may be used, void ones
never again.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ForeignKey, Index, Select, UniqueConstraint, func, select, text, update
from sqlalchemy import Identity as Serial
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Created, JsonList, Table
from database.session import ReadSession, WriteSession
from domain.coupons import CouponState, UseState
from domain.rewards import GeneratedCodes

ALPHABET: Final = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Of generated codes: no letter that reads like a digit, and no U, so that few words come of it."""
_TRIES: Final = 20


class Coupon(Table):
    """One code. `version` is the reward's when it was issued: what a coupon is good for never changes afterwards."""

    __tablename__ = "coupons"

    code: Mapped[str] = mapped_column(primary_key=True)  # as domain.coupons.normal_code writes it
    number: Mapped[int] = mapped_column(Serial(always=True))  # pools are emptied in this order
    reward: Mapped[str]
    version: Mapped[int | None]  # null while pooled
    state: Mapped[str]  # CouponState
    is_loaded: Mapped[bool] = mapped_column(server_default=text("true"))  # by the shop, into the pool
    customer_id: Mapped[UUID | None] = mapped_column(ForeignKey("customers.id"))  # null: anybody's
    redemption_id: Mapped[UUID | None]
    uses: Mapped[int | None]  # how often it can be used; null: no limit
    uses_per_customer: Mapped[int | None]
    valid_from: Mapped[datetime | None]
    valid_until: Mapped[datetime | None]
    created_at: Mapped[Created]

    __table_args__ = (
        Index("ix_coupons_pool", "reward", "number", postgresql_where=text("state = 'pooled' AND is_loaded")),
        Index("ix_coupons_customer_id", "customer_id"),
        Index("ix_coupons_redemption_id", "redemption_id"),
    )


class CouponUse(Table):
    """One order that a code is held for or was used on. What came off each line is kept as it was then."""

    __tablename__ = "coupon_uses"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(ForeignKey("coupons.code"))
    order_id: Mapped[str]  # the shop's own
    customer_id: Mapped[UUID | None] = mapped_column(ForeignKey("customers.id"))
    state: Mapped[str]  # UseState
    held_until: Mapped[datetime | None]
    currency: Mapped[str]
    discount: Mapped[int]  # minor units, shipping included
    shipping: Mapped[int]  # minor units of it that came off the shipping
    shares: Mapped[JsonList]  # minor units of it, by line of the cart
    given_back: Mapped[int] = mapped_column(server_default=text("0"))  # minor units, to a gift card
    at: Mapped[datetime]  # of the last change

    __table_args__ = (
        UniqueConstraint("code", "order_id"),
        Index("ix_coupon_uses_order_id", "order_id"),
        Index("ix_coupon_uses_customer_id", "customer_id"),
    )


# Codes of redemptions ------------------------------------------------------------------------------------


async def load_codes(session: WriteSession, reward: str, codes: Sequence[str]) -> set[str]:
    """Put codes into a reward's pool. Answers those that were new; a code that exists anywhere is left alone."""
    return await _add(session, reward, codes, is_loaded=True)


async def _add(session: WriteSession, reward: str, codes: Sequence[str], *, is_loaded: bool) -> set[str]:
    same = {"reward": reward, "state": CouponState.POOLED, "is_loaded": is_loaded}
    rows = [{"code": code, **same} for code in dict.fromkeys(codes)]
    if not rows:
        return set()
    statement = insert(Coupon).values(rows).on_conflict_do_nothing().returning(Coupon.code)
    return set((await session.execute(statement)).scalars())


async def pools_with_codes(session: ReadSession, rewards: Collection[str]) -> set[str]:
    """Of these rewards those whose pool is not empty."""
    pooled = (
        select(Coupon.reward)
        .where(Coupon.reward.in_(rewards), Coupon.state == CouponState.POOLED, Coupon.is_loaded)
        .distinct()
    )
    return set((await session.execute(pooled)).scalars()) if rewards else set()


async def pooled_count(session: ReadSession, reward: str) -> int:
    """How many codes are left in a reward's pool."""
    pooled = select(func.count()).where(Coupon.reward == reward, Coupon.state == CouponState.POOLED, Coupon.is_loaded)
    return (await session.execute(pooled)).scalar_one()


async def take_pooled(session: WriteSession, reward: str) -> str | None:
    """The next code that was loaded, locked; None when there is none left.

    Codes that others are just taking are skipped. When only such are left we wait for them: they may be put back.
    """
    free = await session.scalar(_next_pooled(reward).with_for_update(skip_locked=True))
    return free or await session.scalar(_next_pooled(reward).with_for_update())


def _next_pooled(reward: str) -> Select[str]:
    # Relies on ix_coupons_pool.
    pooled = select(Coupon.code).where(Coupon.reward == reward, Coupon.state == CouponState.POOLED, Coupon.is_loaded)
    return pooled.order_by(Coupon.number).limit(1)


async def make_code(session: WriteSession, reward: str, form: GeneratedCodes) -> str:
    """A new code that no other coupon has."""
    for _ in range(_TRIES):
        code = generated(form)
        if await _add(session, reward, [code], is_loaded=False):
            return code
    raise RuntimeError("no free code in twenty tries: the random source is broken")


async def own(
    session: WriteSession,
    code: str,
    *,
    version: int,
    customer_id: UUID,
    redemption_id: UUID,
    uses: int | None,
) -> None:
    """Reserve a locked pooled code for a redemption. It can be used from `activate` on."""
    owned = update(Coupon).where(Coupon.code == code, Coupon.state == CouponState.POOLED)
    values = {"version": version, "customer_id": customer_id, "redemption_id": redemption_id, "uses": uses}
    await session.execute(owned.values(state=CouponState.RESERVED, **values))


async def activate(session: WriteSession, redemption_id: UUID, *, valid_until: datetime | None) -> None:
    """The redemption was issued: its code is shown, and may be used."""
    issued = update(Coupon).where(Coupon.redemption_id == redemption_id, Coupon.state == CouponState.RESERVED)
    await session.execute(issued.values(state=CouponState.ACTIVE, valid_until=valid_until))


async def give_up(session: WriteSession, redemption_id: UUID) -> None:
    """The redemption is over. A code that was shown is void, for nobody else may ever get it; one that nobody has seen
    goes back to its pool, or is forgotten if it was made up.
    """
    own_code = update(Coupon).where(Coupon.redemption_id == redemption_id)
    unseen = own_code.where(Coupon.state == CouponState.RESERVED)
    nobodys = dict.fromkeys(("version", "customer_id", "redemption_id", "uses"))
    await session.execute(own_code.where(Coupon.state == CouponState.ACTIVE).values(state=CouponState.VOID))
    await session.execute(unseen.where(~Coupon.is_loaded).values(state=CouponState.VOID))
    await session.execute(unseen.where(Coupon.is_loaded).values(state=CouponState.POOLED, **nobodys))


async def lock_coupons(session: WriteSession, codes: Collection[str]) -> list[Coupon]:
    """Coupons, locked in the order of their codes: whoever uses one waits for whoever is using it."""
    locked = select(Coupon).where(Coupon.code.in_(codes)).order_by(Coupon.code).with_for_update()
    statement = locked.execution_options(populate_existing=True)
    return list((await session.execute(statement)).scalars()) if codes else []


async def is_in_use(session: ReadSession, redemption_id: UUID, as_of: datetime) -> bool:
    """Whether the redemption's code is used, or held for an order."""
    of_code = select(CouponUse.id).join(Coupon, Coupon.code == CouponUse.code)
    counts = (CouponUse.state == UseState.USED) | (CouponUse.state == UseState.HELD) & (CouponUse.held_until > as_of)
    return await session.scalar(of_code.where(Coupon.redemption_id == redemption_id, counts).limit(1)) is not None


# Coupons of the shop's own -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Terms:
    """Who may use a coupon that nobody redeemed, how often and when; None: anybody, without limit, always."""

    customer_id: UUID | None = None
    uses: int | None = None
    uses_per_customer: int | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None


async def add_coupon(session: WriteSession, code: str, reward: str, version: int, terms: Terms) -> bool:
    """Make a code that can be used at once; False when it exists already, whatever for."""
    values = {"code": code, "reward": reward, "version": version, "state": CouponState.ACTIVE, "is_loaded": False}
    statement = insert(Coupon).values(**values, **asdict(terms)).on_conflict_do_nothing().returning(Coupon.code)
    return (await session.execute(statement)).scalar_one_or_none() is not None


async def find_coupon(session: ReadSession, code: str) -> Coupon | None:
    """One code, whoever's it is."""
    return (await session.execute(select(Coupon).where(Coupon.code == code))).scalar_one_or_none()


async def count_uses(session: ReadSession, code: str, as_of: datetime) -> tuple[int, int]:
    """How often a code was used, and how often it is held."""
    held = (CouponUse.state == UseState.HELD) & (CouponUse.held_until > as_of)
    used = func.count().filter(CouponUse.state == UseState.USED)
    row = (await session.execute(select(used, func.count().filter(held)).where(CouponUse.code == code))).one()
    return row[0], row[1]


def generated(form: GeneratedCodes) -> str:
    """Letters and digits that nobody guesses; whether they are free is for whoever stores them."""
    return (form.prefix or "") + "".join(secrets.choice(ALPHABET) for _ in range(form.length))
