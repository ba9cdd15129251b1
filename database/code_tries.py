"""How many wrong codes somebody may try: one budget a key and one a customer of it, shared by all processes of the API.

A budget is kept as the instant until which it is spent (GCRA): each code moves it on by its share of the window, and
nobody gets further ahead than the window.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Table
from database.secrets import PSEUDONYMS, secret
from database.session import WriteSession
from domain.pseudonyms import pseudonym


class CodeTries(Table):
    """One key's or customer's budget; `subject` is a keyed hash of whose it is."""

    __tablename__ = "code_tries"

    subject: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    spent_until: Mapped[datetime]

    __table_args__ = (Index("ix_code_tries_spent_until", "spent_until"),)


@dataclass(frozen=True, slots=True)
class Budget:
    """`codes` in any `window`, all at once if need be. `name` says whose: `key`, `customer` or `address`."""

    name: str
    codes: int
    window: timedelta = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Spent:
    """What a try came to: `left` codes now, all of them again after `full_in`; `wait` is zero if it was let through."""

    left: int
    full_in: timedelta
    wait: timedelta = timedelta()


# Takes the budget's row, so that processes take turns, and moves it on if there is room; a few rows of others that have
# been full again for a day go, so that the table stays as large as a day. By pk_code_tries, ix_code_tries_spent_until.
_SPEND = text("""
    WITH old AS (
        DELETE FROM code_tries WHERE subject IN (
            SELECT subject FROM code_tries
            WHERE spent_until < CAST(:as_of AS timestamptz) - interval '1 day' AND subject <> :subject
            ORDER BY spent_until LIMIT 5 FOR UPDATE SKIP LOCKED
        )
    )
    INSERT INTO code_tries (subject, spent_until)
    VALUES (:subject, CAST(:as_of AS timestamptz) + CAST(:cost AS interval))
    ON CONFLICT (subject) DO UPDATE
    SET spent_until = greatest(code_tries.spent_until, CAST(:as_of AS timestamptz)) + CAST(:cost AS interval)
    WHERE greatest(code_tries.spent_until, CAST(:as_of AS timestamptz)) + CAST(:cost AS interval)
        <= CAST(:as_of AS timestamptz) + CAST(:window AS interval)
    RETURNING spent_until
""")
_GIVE_BACK = text("UPDATE code_tries SET spent_until = spent_until - CAST(:cost AS interval) WHERE subject = :subject")
_STANDING = text("SELECT spent_until FROM code_tries WHERE subject = :subject")


async def spend(session: WriteSession, budget: Budget, whose: str, codes: int, as_of: datetime) -> Spent:
    """Try so many codes; more than the budget holds count as all of it. A refused try costs nothing."""
    share = budget.window / budget.codes
    cost = share * min(codes, budget.codes)
    subject = await _subject(session, budget, whose)
    about = {"subject": subject, "as_of": as_of, "cost": cost, "window": budget.window}
    until = await session.scalar(_SPEND, about)
    if until is not None:
        ahead = until - as_of
        return Spent(int((budget.window - ahead) / share), ahead)
    ahead = (await session.execute(_STANDING, {"subject": subject})).scalar_one() - as_of
    return Spent(int((budget.window - ahead) / share), ahead, wait=ahead + cost - budget.window)


async def waits(session: WriteSession, budget: Budget, whose: str, as_of: datetime) -> timedelta:
    """How long until the budget has room for another code; zero if it has. Spends nothing."""
    until = await session.scalar(_STANDING, {"subject": await _subject(session, budget, whose)})
    share = budget.window / budget.codes
    return timedelta() if until is None else max(timedelta(), until + share - as_of - budget.window)


async def give_back(session: WriteSession, budget: Budget, whose: str, codes: int) -> None:
    """So many of the codes that were spent were good ones."""
    if codes:
        cost = budget.window / budget.codes * min(codes, budget.codes)
        await session.execute(_GIVE_BACK, {"subject": await _subject(session, budget, whose), "cost": cost})


async def _subject(session: WriteSession, budget: Budget, whose: str) -> bytes:
    return pseudonym(await secret(session, PSEUDONYMS), f"code tries/{budget.name}", whose)
