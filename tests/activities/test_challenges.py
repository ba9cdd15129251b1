"""What time does to challenges and contests, as the hourly pass does it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities.settling import Settled, SettlingActivities, SettlingStep
from database import documents
from database.contests import draw_of, open_contest
from database.leaderboards import snapshot_of
from database.session import Database
from domain.documents import DocumentState
from tests.triggers.shop import Shop


@pytest.fixture
def shop(database: Database) -> Shop:
    return Shop(database)


async def put_live(shop: Shop, kind: str, document: Mapping[str, Any]) -> None:
    async with shop.database.transaction() as session:
        row = await documents.save_draft(session, kind, document[kind], document, shop.now)
        state = DocumentState.LIVE
        await documents.add_version(session, row, document=document, state=state, as_of=shop.now, by="test")


async def hourly_pass(shop: Shop) -> Settled:
    step = SettlingStep(since=shop.now - timedelta(hours=1), as_of=shop.now)
    return await ActivityEnvironment().run(SettlingActivities(shop.database).close_challenges, step)


async def test_a_months_ranks_become_final_once_its_day_of_grace_is_over(shop: Shop) -> None:
    race = {"challenge": "race", "metric": {"count": "Store Visited"}, "window": {"every": "month"}}
    await put_live(shop, "challenge", race | {"leaderboard": {"prizes": [{"to_rank": 1, "badge": {"badge": "first"}}]}})
    await shop.track("Store Visited", user_id="ann")
    final = []

    for day, hour in ((1, 23), (2, 0), (2, 1)):
        shop.now = shop.now.replace(month=6, day=day, hour=hour, minute=0)
        await hourly_pass(shop)
        async with shop.database.read() as session:
            final.append(await snapshot_of(session, "race", "2026-05") is not None)

    assert final == [False, True, True]
    assert (await hourly_pass(shop)).count == 0


async def test_a_contests_list_freezes_when_it_closes_and_stays_as_it_is(shop: Shop) -> None:
    """Its hash is public before anybody can draw."""
    await put_live(shop, "contest", {"contest": "summer", "closes": "2026-05-04", "entries": [{"rule": "form"}]})
    async with shop.database.transaction() as session:
        await open_contest(session, "summer", shop.now)
    hashes = []

    for hours in (1, 23, 1):
        shop.later(hours=hours)
        await hourly_pass(shop)
        async with shop.database.read() as session:
            row = await draw_of(session, "summer")
            assert row is not None
            hashes.append(row.list_hash)

    assert hashes[0] is None
    assert hashes[1] is not None
    assert hashes[2] == hashes[1]
