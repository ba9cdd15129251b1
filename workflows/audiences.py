"""Entries that time brings: dates that have come, and schedules over an audience. Started by Temporal Schedules."""

from __future__ import annotations

from datetime import datetime

from temporalio import workflow
from temporalio.common import SearchAttributeKey

with workflow.unsafe.imports_passed_through():
    from activities.audiences import AudienceActivities
    from domain.audiences import (
        BACKFILL_DATES,
        DUE_DATES,
        ENTER_AUDIENCE,
        AudienceInput,
        AudiencePage,
        BackfillInput,
        BackfillPage,
        DueDatesInput,
    )
    from workflows.activity_options import entering, sweep

_SCHEDULED = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")

ROUNDS = 200
"""Pages of due dates in one run; what is left comes with the next one, a minute later."""


@workflow.defn(name=DUE_DATES)
class DueDatesWorkflow:
    """Every minute, for all journeys together."""

    @workflow.run
    async def run(self) -> None:
        """Enter whose date has come."""
        asked = DueDatesInput(as_of=workflow.now())
        for _ in range(ROUNDS):
            if not await workflow.execute_activity_method(
                AudienceActivities.enter_due_dates, asked, **sweep("enter whose date has come")
            ):
                return


@workflow.defn(name=ENTER_AUDIENCE)
class EnterAudienceWorkflow:
    """One time of one schedule entry."""

    @workflow.run
    async def run(self, asked: AudienceInput) -> None:
        """Enter the whole audience. The time tells this one from the entry's others, also when it is tried again."""
        page = AudiencePage(journey=asked.journey, entry=asked.entry, fired=asked.fired or _nominal_time())
        while True:
            reached = await workflow.execute_activity_method(
                AudienceActivities.enter_audience, page, **entering("enter a stretch of the audience")
            )
            if reached.after is None:
                return
            page = page.model_copy(update={"after": reached.after})


def _nominal_time() -> datetime:
    """The time that the schedule names, however late it fired."""
    info = workflow.info()
    scheduled = info.typed_search_attributes.get(_SCHEDULED) if workflow.patched("nominal-time") else None
    return scheduled or info.start_time


@workflow.defn(name=BACKFILL_DATES)
class BackfillDatesWorkflow:
    """After a journey with date entries was published."""

    @workflow.run
    async def run(self, asked: BackfillInput) -> None:
        """Work out what falls due for everybody who is there already."""
        page = BackfillPage(journey=asked.journey, as_of=workflow.now())
        while True:
            reached = await workflow.execute_activity_method(
                AudienceActivities.backfill_dates, page, **sweep("work out dates for a stretch of customers")
            )
            if reached.after is None:
                return
            page = page.model_copy(update={"after": reached.after})
