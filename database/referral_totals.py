"""What all referrals of a period came to: how far each got that began in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from database.referral_codes import ReferralClicks
from database.referrals import Referral
from database.session import ReadSession
from domain.engagement import Actor
from domain.referrals import ReferralState


@dataclass(frozen=True, slots=True)
class Funnel:
    """How many got as far, whatever became of them later; and where those are who got no further."""

    invited: int
    clicked: int
    claimed: int
    claimed_by_invitation: int
    qualified: int
    rewarded: int
    visits: int  # to links of all kinds by people
    states: Mapping[str, int]
    rejected: Mapping[str, int]  # reason -> how many


async def funnel(session: ReadSession, start: datetime, end: datetime) -> Funnel:
    """Of the referrals that began in a period: when their invitation was made, else when they were claimed."""
    began = func.coalesce(Referral.invited_at, Referral.claimed_at)
    is_invited, is_claimed = Referral.invited_at.is_not(None), Referral.claimed_at.is_not(None)
    is_rewarded = Referral.rewarded_at.is_not(None)
    statement = (
        select(
            *(Referral.state, Referral.reason, func.count().label("all")),
            func.count().filter(is_invited).label("invited"),
            func.count().filter(Referral.clicked_at.is_not(None)).label("clicked"),
            func.count().filter(is_claimed).label("claimed"),
            func.count().filter(is_claimed & is_invited).label("claimed_by_invitation"),
            func.count().filter(is_rewarded | (is_claimed & Referral.qualified_at.is_not(None))).label("qualified"),
            func.count().filter(is_rewarded).label("rewarded"),
        )
        .where(began >= start, began < end)
        .group_by(Referral.state, Referral.reason)
    )
    rows = (await session.execute(statement)).all()
    states: dict[str, int] = {}
    for row in rows:
        states[row.state] = states.get(row.state, 0) + row.all
    return Funnel(
        invited=sum(row.invited for row in rows),
        clicked=sum(row.clicked for row in rows),
        claimed=sum(row.claimed for row in rows),
        claimed_by_invitation=sum(row.claimed_by_invitation for row in rows),
        qualified=sum(row.qualified for row in rows),
        rewarded=sum(row.rewarded for row in rows),
        visits=await _visits(session, start, end),
        states=states,
        rejected={row.reason: row.all for row in rows if row.state == ReferralState.REJECTED and row.reason},
    )


async def _visits(session: ReadSession, start: datetime, end: datetime) -> int:
    """Kept by the day of UTC: those of the first and the last day count whole."""
    days = (ReferralClicks.day >= start.date(), ReferralClicks.day <= end.date())
    statement = select(func.coalesce(func.sum(ReferralClicks.clicks), 0))
    return int(await session.scalar(statement.where(*days, ReferralClicks.actor == Actor.HUMAN)) or 0)
