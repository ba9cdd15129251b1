"""Choosing the way: `branch` by conditions, `split` by a stable hash."""

from __future__ import annotations

from temporalio import activity

from activities.steps import OpenStep, open_step
from database.conditions import judge
from database.runs import subject_of
from database.session import Database, WriteSession
from database.shop_settings import shop_settings
from domain.journeys.library import DefinitionLibrary
from domain.journeys.splits import assign
from domain.journeys.steps import BranchStep, ElseArm, SplitStep
from domain.runs import Doubt, StepInput, StepOutcome


class BranchActivities:
    """Both answer the arm to take and remember it, so that a repeated question gets the same answer."""

    def __init__(self, database: Database, library: DefinitionLibrary) -> None:
        self._database = database
        self._library = library

    @activity.defn
    async def branch(self, at: StepInput) -> StepOutcome:
        """The position of the first arm whose condition holds, or of `else`; no arm when there is neither."""
        async with self._database.transaction() as session:
            match await open_step(session, self._library, at):
                case OpenStep(step=BranchStep() as step) as opened:
                    return opened.done(arm=await _first_that_holds(session, opened, step))
                case StepOutcome() as settled:
                    return settled
                case OpenStep() as other:
                    raise other.unexpected()

    @activity.defn
    async def split(self, at: StepInput) -> StepOutcome:
        """The customer's variant, stored at the first visit."""
        async with self._database.transaction() as session:
            match await open_step(session, self._library, at):
                case OpenStep(step=SplitStep() as step) as opened:
                    return opened.done(arm=_variant(opened, step))
                case StepOutcome() as settled:
                    return settled
                case OpenStep() as other:
                    raise other.unexpected()


async def _first_that_holds(session: WriteSession, opened: OpenStep, step: BranchStep) -> str | None:
    subject = subject_of(opened.run, opened.customer, opened.at.as_of)
    shop = (await shop_settings(session)).defaults
    for position, arm in enumerate(step.branch):
        if isinstance(arm, ElseArm):
            return str(position)
        [verdict] = await judge(session, arm.if_, [subject], shop=shop, compare=opened.run.trusted)
        if not verdict.is_trusted:
            opened.doubt(Doubt.CONDITION)
        if verdict.holds:
            return str(position)
    return None


def _variant(opened: OpenStep, step: SplitStep) -> str:
    stored = opened.run.variants.get(opened.at.step)
    if stored is not None:
        return str(stored)
    variant = assign(opened.customer.id, opened.run.journey, opened.at.step, step.split.variants)
    opened.run.variants = opened.run.variants | {opened.at.step: variant}
    return variant
