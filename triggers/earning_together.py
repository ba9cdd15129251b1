"""Decisions about several events, each on top of those before it: by the tier and the points that these came to.

Routing stores them (earning.py), a dry run only counts them (earning_trials.py).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from uuid import UUID

from domain.earning import Decision, EarningEvent, Usage, decide_in_order
from triggers.earning_course import Course, course_of
from triggers.earning_facts import Grounds, circumstances, usage_before
from triggers.kept_answers import KeptAnswers
from triggers.order_edits import restated


async def decide_together(
    grounds: Grounds, events: Sequence[EarningEvent], *, unweighed: Collection[UUID]
) -> list[Decision]:
    """Passes in order until tiers and points earned before each event are what the decisions come to.

    `unweighed`: customers whose stored tiers may be past.
    """
    events = await restated(grounds.session, events, grounds.programmes)
    course = await course_of(grounds, events, unweighed)
    again = {stored.id for stored in grounds.later}
    before = await usage_before(grounds.session, grounds.programme, events, grounds.programmes, but=again)
    before.occasions |= grounds.taken
    while True:
        found = await _pass(grounds, events, course, before)
        if not course.correct(found):
            return found


async def _pass(grounds: Grounds, events: Sequence[EarningEvent], course: Course, before: Usage) -> list[Decision]:
    programmes = grounds.programmes
    usage = Usage({key: replace(used) for key, used in before.limits.items()}, set(before.occasions))
    about = await circumstances(
        *(grounds.session, grounds.shop, events, programmes, grounds.people),
        tiers=course.tiers,
        earned=course.earned,
        kept=KeptAnswers(grounds.later),
    )
    return list(decide_in_order(events, lambda event: programmes[event.id], lambda event: about[event.id], usage))
