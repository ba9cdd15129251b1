"""The hourly pass ends redemptions whose time is over, whole pages of them, and those that fit no page."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from temporalio.testing import ActivityEnvironment

from activities.settling import SettlingActivities, SettlingStep
from database import customers
from database.redeeming import redeem
from database.session import Database
from tests.factories import NOON
from tests.rewarding import DAY, TENNER, make_member, publish_programme, publish_reward, redemptions_of, taken


async def test_redemptions_end_when_their_time_is_over(database: Database) -> None:
    await publish_programme(database)
    await publish_reward(database, TENNER, lasts="7d", stock=9)
    for n in range(5):
        who = await make_member(database, f"u-{n}", points=100)
        async with database.transaction() as session:
            await customers.lock(session, [who], skip_locked=False)
            await redeem(session, who, "tenner", NOON + timedelta(hours=n))
    step = SettlingStep(since=NOON, as_of=NOON + 7 * DAY + timedelta(hours=2))
    activities = SettlingActivities(database, page=2)

    done = [await ActivityEnvironment().run(activities.expire_redemptions, step) for _ in range(2)]

    assert [each.count for each in done] == [3, 0]
    assert Counter(row.state for row in await redemptions_of(database)) == {"expired": 3, "issued": 2}
    assert await taken(database, "tenner") == 5  # what lapses after it was issued is forfeited
