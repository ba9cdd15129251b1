"""The step `points`: gives or takes points of the live programme, or raises for a time what its rules pay."""

from __future__ import annotations

from datetime import UTC, datetime

from temporalio import activity

from activities.steps import OpenStep, open_step
from database import points
from database.point_boosts import raise_multiplier
from database.programmes import LiveProgramme, live_programme
from database.session import Database, WriteSession
from domain.durations import parse_duration
from domain.journeys.library import DefinitionLibrary
from domain.journeys.step_bodies import Points
from domain.journeys.steps import PointsStep
from domain.points import Credit, CreditKind, Debit, DebitKind, Moved
from domain.runs import UNTRUSTED, StepInput, StepOutcome


class PointsActivities:
    """Each move is keyed by run, step and visit, so that a repeated attempt moves nothing."""

    def __init__(self, database: Database, library: DefinitionLibrary) -> None:
        self._database = database
        self._library = library

    @activity.defn
    async def points(self, at: StepInput) -> StepOutcome:
        """Awards, deducts or multiplies; a deduction beyond what is available is skipped."""
        async with self._database.transaction() as session:
            match await open_step(session, self._library, at):
                case OpenStep(step=PointsStep(points=body)) as opened:
                    return await _move(session, opened, body)
                case StepOutcome() as settled:
                    return settled
                case OpenStep() as other:
                    raise other.unexpected()


async def _move(session: WriteSession, opened: OpenStep, body: Points) -> StepOutcome:
    if withheld := opened.withheld:
        return withheld
    programme = await live_programme(session)
    if programme is None:
        return opened.skipped("no_programme")
    if not opened.run.trusted:
        return opened.skipped(UNTRUSTED)
    if body.award is not None:
        return _told(opened, await _award(session, opened, body, body.award, programme))
    if body.deduct is not None:
        return _told(opened, await _deduct(session, opened, body, body.deduct, programme))
    return await _multiply(session, opened, body, programme)


async def _award(session: WriteSession, opened: OpenStep, body: Points, count: int, programme: LiveProgramme) -> Moved:
    as_of = opened.at.as_of
    credit = Credit(
        account=opened.customer.id,
        key=key_of(opened),
        points=count,
        kind=CreditKind.AWARD,
        earned_at=as_of,
        source=f"journey/{opened.run.journey}",
        expires_at=_after(body.expires, as_of, programme) if body.expires else None,
    )
    return await _post(session, opened, body, programme, credit)


async def _deduct(session: WriteSession, opened: OpenStep, body: Points, count: int, programme: LiveProgramme) -> Moved:
    debit = Debit(
        account=opened.customer.id,
        key=key_of(opened),
        points=count,
        kind=DebitKind.DEDUCT,
        source=f"journey/{opened.run.journey}",
    )
    return await _post(session, opened, body, programme, debit)


async def _post(
    session: WriteSession, opened: OpenStep, body: Points, programme: LiveProgramme, move: Credit | Debit
) -> Moved:
    reasons = {move.key: body.reason} if body.reason else {}
    depth = opened.run.depth + 1  # of what starts because of it
    (moved,) = await points.post(session, programme.key, [move], opened.at.as_of, reasons=reasons, depth=depth)
    return moved


async def _multiply(session: WriteSession, opened: OpenStep, body: Points, programme: LiveProgramme) -> StepOutcome:
    as_of = opened.at.as_of
    end = _after(body.for_ or "0d", as_of, programme)
    await raise_multiplier(
        session,
        opened.customer.id,
        key=key_of(opened),
        by=body.multiply or 1,
        start=as_of,
        end=end,
        rule=body.rule,
    )
    return opened.done(by=body.multiply, until=end.isoformat())


def key_of(opened: OpenStep) -> str:
    """The natural key of what a step gives."""
    return f"step/{opened.run.id}/{opened.at.step}/{opened.at.visit}"


def _told(opened: OpenStep, moved: Moved) -> StepOutcome:
    if moved.refusal is not None:
        return opened.skipped(moved.refusal)
    return opened.done(points=moved.points, transaction_id=str(moved.transaction_id))


def _after(period: str, as_of: datetime, programme: LiveProgramme) -> datetime:
    """That long from now, by the programme's calendar."""
    return parse_duration(period).after(as_of.astimezone(programme.zone)).astimezone(UTC)
