"""The step `reward`: gives something from the catalogue, and keeps what it was for later messages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import assert_never

from temporalio import activity

from activities.points import key_of
from activities.steps import OpenStep, open_step
from database.redemptions import give, given_by, lock_redemption
from database.session import Database, WriteSession
from database.shop_settings import shop_settings
from database.untrusted_runs import given_in_untrusted_runs, has_trusted_event, untold_gift
from domain.durations import parse_duration
from domain.journeys.library import DefinitionLibrary
from domain.journeys.step_bodies import Reward
from domain.journeys.steps import RewardStep
from domain.local_time import resolve_zone
from domain.redemptions import Given, NotGiven
from domain.runs import UNTRUSTED, StepInput, StepOutcome


class RewardActivities:
    """What is given is keyed by run, step and visit, so that a repeated attempt gives nothing."""

    def __init__(self, database: Database, library: DefinitionLibrary) -> None:
        self._database = database
        self._library = library

    @activity.defn
    async def reward(self, at: StepInput) -> StepOutcome:
        """Gives a reward for nothing; skipped, with the reason, where none is left."""
        async with self._database.transaction() as session:
            match await open_step(session, self._library, at):
                case OpenStep(step=RewardStep(reward=body)) as opened:
                    return await _give(session, opened, body)
                case StepOutcome() as settled:
                    return settled
                case OpenStep() as other:
                    raise other.unexpected()


async def _give(session: WriteSession, opened: OpenStep, body: Reward) -> StepOutcome:
    if withheld := opened.withheld:
        return withheld
    as_of, expires = opened.at.as_of, None
    if opened.run.trusted and (earlier := await _taken_over(session, opened, body, as_of)):
        return earlier
    if not opened.run.trusted and (barred := await _barred(session, opened, body)):
        return opened.skipped(UNTRUSTED, **barred)
    if body.expires is not None:
        zone = resolve_zone(opened.customer.zone, (await shop_settings(session)).zone)
        expires = parse_duration(body.expires).after(as_of.astimezone(zone)).astimezone(UTC)
    given = await give(session, opened.customer.id, body.give, key_of(opened), as_of, expires=expires)
    match given:
        case NotGiven(reason=reason):
            return opened.skipped(reason)
        case Given():
            _save(opened, body, given)
            doubtful = {} if opened.run.trusted else {"untrusted": body.give}
            return opened.done(redemption_id=str(given.redemption_id), **doubtful)
    assert_never(given)


async def _taken_over(session: WriteSession, opened: OpenStep, body: Reward, as_of: datetime) -> StepOutcome | None:
    """What a browser's run has given already and nobody was told of: this run tells of it and gives no second one."""
    untold = await untold_gift(session, opened.customer.id, opened.run.journey, body.give)
    row = None if untold is None else await lock_redemption(session, untold)
    if row is None or row.is_over(as_of):
        return None
    _save(opened, body, given_by(row))
    return opened.done(redemption_id=str(row.id), told_for=str(row.id))


def _save(opened: OpenStep, body: Reward, given: Given) -> None:
    opened.run.saved = {**opened.run.saved, body.save_as: _saved(given)}


async def _barred(session: WriteSession, opened: OpenStep, body: Reward) -> dict[str, str] | None:
    """Why an untrusted run gives nothing, for the log; None: within what the step allows such runs."""
    allowed = body.untrusted
    if allowed is None:
        return {"because": "not_allowed"}
    if not await has_trusted_event(session, opened.customer.id):
        return {"because": "no_trusted_event"}
    since = parse_duration(allowed.per).before(opened.at.as_of) if allowed.per else None
    given = await given_in_untrusted_runs(session, opened.customer.id, body.give, since)
    return {"because": "limit_reached"} if given >= allowed.per_customer else None


def _saved(given: Given) -> dict[str, str | None]:
    """What `{{ saved.reward.* }}` knows."""
    return {
        "reward": given.reward,
        "code": given.code,
        "expires_at": given.expires_at.isoformat() if given.expires_at else None,
        "redemption_id": str(given.redemption_id),
    }
