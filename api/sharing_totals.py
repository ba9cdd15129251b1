"""Totals of a period's referrals and shared links."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, NamedTuple, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from api.auth import requires
from api.dependencies import AsOf, Reading
from api.routing import ApiRoute
from database.referral_totals import Funnel, funnel
from database.shares import ActionTotal, share_totals
from domain.instants import Instant
from domain.keys import Scope
from domain.referrals import Reason, ReferralState

router = APIRouter(route_class=ApiRoute)

READ = [requires(Scope.LOYALTY_READ)]
From = Annotated[Instant | None, Query(alias="from", description="Absent: 30 days before `to`.")]
To = Annotated[Instant | None, Query(description="Absent: now.")]
_LENGTH = timedelta(days=30)
_DIGITS = 2

Percent = Annotated[float | None, Field(description="Null where there is nothing to divide by.")]


class Conversion(BaseModel):
    """In percent. A claim by a personal code was never invited: it counts in what follows the claim alone."""

    clicked_of_invited: Percent
    claimed_of_invited: Percent
    qualified_of_claimed: Percent
    rewarded_of_claimed: Percent


class ReferralTotals(BaseModel):
    """How far the referrals got that began in a period: by their invitation, else by their claim. Whoever got further
    counts in each step before; what was revoked was rewarded first.
    """

    from_: Instant = Field(serialization_alias="from")
    to: Instant
    visits: int = Field(description="Of people to links of all kinds, in the days of UTC that the period touches.")
    invited: int
    clicked: int
    claimed: int
    qualified: int
    rewarded: int
    conversion: Conversion
    states: Mapping[ReferralState, int] = Field(description="Where they stand now.")
    rejected: Mapping[Reason, int] = Field(description="Why those were rejected that were.")

    @classmethod
    def of(cls, start: datetime, end: datetime, told: Funnel) -> Self:
        """From what was counted."""
        return cls(
            from_=start,
            to=end,
            visits=told.visits,
            invited=told.invited,
            clicked=told.clicked,
            claimed=told.claimed,
            qualified=told.qualified,
            rewarded=told.rewarded,
            conversion=Conversion(
                clicked_of_invited=_percent(told.clicked, told.invited),
                claimed_of_invited=_percent(told.claimed_by_invitation, told.invited),
                qualified_of_claimed=_percent(told.qualified, told.claimed),
                rewarded_of_claimed=_percent(told.rewarded, told.claimed),
            ),
            states={ReferralState(state): count for state, count in told.states.items()},
            rejected={Reason(reason): count for reason, count in told.rejected.items()},
        )


class ShareTotal(BaseModel):
    """Links that were made in a period, and what came of them by now, in percent of the links too."""

    action: str | None = Field(description="Null: all actions together.")
    links: int
    sharers: int
    visitors: int = Field(description="People other than the sharer.")
    verified: int
    ordered: int
    verified_of_links: Percent
    ordered_of_links: Percent

    @classmethod
    def of(cls, told: ActionTotal) -> Self:
        """From what was counted."""
        return cls(
            **told._asdict(),
            verified_of_links=_percent(told.verified, told.links),
            ordered_of_links=_percent(told.ordered, told.links),
        )


class ShareTotals(BaseModel):
    """All actions together, and each."""

    from_: Instant = Field(serialization_alias="from")
    to: Instant
    total: ShareTotal
    actions: list[ShareTotal]


@router.get("/v1/referrals/totals", tags=["referrals"], dependencies=READ, summary="A funnel of referrals")
async def get_referral_totals(*, session: Reading, as_of: AsOf, from_: From = None, to: To = None) -> ReferralTotals:
    """Invited, clicked, claimed, qualified, rewarded, and the share of each in the step that it comes from."""
    period = _period(from_, to, as_of)
    return ReferralTotals.of(period.start, period.end, await funnel(session, period.start, period.until))


@router.get("/v1/shares/totals", tags=["sharing"], dependencies=READ, summary="Totals of shared links")
async def get_share_totals(*, session: Reading, as_of: AsOf, from_: From = None, to: To = None) -> ShareTotals:
    """Of links made in the period, by action."""
    period = _period(from_, to, as_of)
    totals = await share_totals(session, period.start, period.until)
    total = next(each for each in totals if each.action is None)
    actions = [ShareTotal.of(each) for each in totals if each.action is not None]
    return ShareTotals(from_=period.start, to=period.end, total=ShareTotal.of(total), actions=actions)


class _Period(NamedTuple):
    start: datetime
    end: datetime
    until: datetime  # exclusive: what happens at this very moment belongs to a period that ends now


def _period(from_: datetime | None, to: datetime | None, as_of: datetime) -> _Period:
    end = to or as_of
    start = from_ or end - min(_LENGTH, end - datetime.min.replace(tzinfo=end.tzinfo))
    return _Period(start, end, end if to else end + timedelta(microseconds=1))


def _percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, _DIGITS) if whole else None
