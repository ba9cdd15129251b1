"""What time does to the loyalty programme, one activity for each kind; in pages, so that it can be broken off.

Nothing waits for these jobs: every move and every reading settles its own account. They see to those nobody asks about.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict
from temporalio import activity

from activities.challenges import close_periods
from activities.referrals import settle_referrals
from activities.tiers import close_tier_periods
from database.events import append
from database.forfeiting import forfeit_some
from database.passes import note_pass, passed_until
from database.point_totals import add_up
from database.programmes import LiveProgramme, live_programme
from database.redeeming import expire_some
from database.session import Database
from database.settling import DueAccount, ExpiringPoints, due_accounts, expiring_points, settle_accounts
from domain.durations import parse_duration
from domain.events import EventKind, NewEvent
from domain.journeys.waiting import PRODUCT_SOURCE

PAGE = 200
"""Accounts in one transaction: their customers are locked for as long."""

POINTS_EXPIRING = "Points Expiring"
_WARNED = "points_expiring"  # how far warnings have come, whatever Temporal remembers
_SWEEPS = 3  # accounts that somebody is busy with are left for the next sweep, and waited for in the last


class SettlingStep(BaseModel):
    """What was due by `as_of`; `since` is the as-of of the pass before."""

    model_config = ConfigDict(frozen=True)

    since: datetime
    as_of: datetime


class Settled(BaseModel):
    """How much there was to do."""

    model_config = ConfigDict(frozen=True)

    count: int


class SettlingActivities:
    """The time jobs, each a method; other nouns of the programme delegate from here. `page`: rows in a transaction."""

    def __init__(self, database: Database, *, page: int = PAGE) -> None:
        self._database = database
        self._page = page

    @activity.defn
    async def settle_accounts(self, step: SettlingStep) -> Settled:
        """Activate, time out and expire in all accounts, each at the instant at which it was due; forfeit what has come
        to people who were erased."""
        count = 0
        for sweep in range(_SWEEPS):
            count += await self._sweep(step.as_of, wait=sweep == _SWEEPS - 1)
        while done := await self._forfeit_page(step.as_of):
            count += done
            activity.heartbeat()
        return Settled(count=count)

    @activity.defn
    async def close_tier_periods(self, step: SettlingStep) -> Settled:
        """Weigh customers whose period or grace has ended, and everybody once by new rules."""
        return Settled(count=await close_tier_periods(self._database, step.as_of, activity.heartbeat))

    @activity.defn
    async def warn_of_expiry(self, step: SettlingStep) -> Settled:
        """Append an event for points that come within a warning of the programme: once, whatever is repeated."""
        async with self._database.read() as session:
            programme = await live_programme(session)
            passed = await passed_until(session, _WARNED)
        step = step.model_copy(update={"since": min(step.since, passed or step.since)})
        warnings = programme.definition.warn if programme else []
        count = sum([await self._warn(step, programme, before) for before in warnings if programme])
        async with self._database.transaction() as session:
            await note_pass(session, _WARNED, step.as_of)
        return Settled(count=count)

    @activity.defn
    async def end_referral_holds(self, step: SettlingStep) -> Settled:
        """Reward both sides of referrals whose hold is over, and end invitations and claims that have lapsed."""
        return Settled(count=await settle_referrals(self._database, step.as_of))

    @activity.defn
    async def expire_redemptions(self, step: SettlingStep) -> Settled:
        """End redemptions whose time is over, in pages; what was never issued goes back to stock and pool."""
        count = 0
        while done := await self._expire_page(step.as_of):
            count += done
            activity.heartbeat()
        return Settled(count=count)

    @activity.defn
    async def close_challenges(self, step: SettlingStep) -> Settled:
        """Reach goals together, make ranks final, freeze the lists of contests, tell whoever won."""
        return Settled(count=await close_periods(self._database, step.as_of, activity.heartbeat))

    async def _warn(self, step: SettlingStep, programme: LiveProgramme, before: str) -> int:
        """One of the programme's warnings; `before` is a period such as `30d`, by the programme's calendar."""
        since, until = (
            parse_duration(before).after(moment.astimezone(programme.zone)).astimezone(UTC)
            for moment in (step.since, step.as_of)
        )
        count, after = 0, None
        while page := await self._expiring(programme.key, since, until, after):
            async with self._database.transaction() as session:
                done = await append(session, [_warning(each, before, step.as_of) for each in page])
            count += len(done.accepted)
            after = page[-1]
            activity.heartbeat()
        return count

    async def _forfeit_page(self, as_of: datetime) -> int:
        async with self._database.transaction() as session:
            await session.take_long()
            return await forfeit_some(session, as_of, limit=self._page)

    async def _expire_page(self, as_of: datetime) -> int:
        async with self._database.transaction() as session:
            await session.take_long()
            return await expire_some(session, as_of, limit=self._page)

    async def _sweep(self, as_of: datetime, *, wait: bool) -> int:
        count, after = 0, None
        while page := await self._due(as_of, after):
            async with self._database.transaction() as session:
                await session.take_long()
                count += await settle_accounts(session, page, as_of, wait=wait)
            after = page[-1]
            activity.heartbeat()
        return count

    async def _add_up(self) -> None:
        """What the hours came to, which the moves up to here have noted."""
        more = True
        while more:
            async with self._database.transaction() as session:
                more = await add_up(session) > 0
            activity.heartbeat()

    async def _due(self, as_of: datetime, after: DueAccount | None) -> Sequence[DueAccount]:
        async with self._database.read() as session:
            await session.take_long()
            return await due_accounts(session, as_of, after=after, limit=self._page)

    async def _expiring(
        self, programme: str, since: datetime, until: datetime, after: ExpiringPoints | None
    ) -> Sequence[ExpiringPoints]:
        async with self._database.read() as session:
            await session.take_long()
            return await expiring_points(session, programme, since, until, after=after, limit=self._page)


def _warning(expiring: ExpiringPoints, before: str, as_of: datetime) -> NewEvent:
    return NewEvent(
        source=PRODUCT_SOURCE,
        message_id=f"expiring/{expiring.programme}/{expiring.account}/{expiring.at.isoformat()}/{before}",
        kind=EventKind.TRACK,
        name=POINTS_EXPIRING,
        timestamp=as_of,
        received_at=as_of,
        user_id=expiring.user_id,
        properties={"points": expiring.points, "at": expiring.at.isoformat(), "warning": before},
        trusted=True,
        own=True,
    )
