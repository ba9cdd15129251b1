"""Members together and against each other: communities, ranks while they run and when they are final, their prizes."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, text

from database.challenge_errands import ChallengeErrand, recount
from database.leaderboards import LeaderboardRank, final_ranks, running_ranks
from tests.challenging import PROGRAMME, balance, order, progress, put_live, run_errands
from tests.triggers.shop import Shop


async def test_a_community_reaches_its_goal_together_and_whoever_gave_is_paid_once(shop: Shop) -> None:
    await put_live(shop, "programme", PROGRAMME)
    trees = {"challenge": "trees", "metric": {"count": "Order Completed"}, "community": {"contribute": 2}}
    await put_live(shop, "challenge", trees | {"levels": [{"level": "wood", "at": 5, "points": 20}]})
    for number, user in enumerate(["u-1", "u-1", "u-2", "u-2", "u-3"]):
        await order(shop, f"o-{number}", user_id=user)

    await run_errands(shop)
    await run_errands(shop)

    assert [(await balance(shop, user)).available for user in ("u-1", "u-2", "u-3")] == [20, 20, 0]


RACE = {
    "challenge": "race",
    "metric": {"count": "Store Visited"},
    "window": {"every": "month"},
    "leaderboard": {"prizes": [{"to_rank": 1, "points": 100}, {"to_rank": 2, "points": 10}]},
}


async def visit(shop: Shop, *users: str) -> None:
    for user in users:
        shop.later(minutes=1)
        await shop.track("Store Visited", user_id=user)


@pytest.mark.parametrize(
    ("ties", "ranks"), [("first", [1, 2, 3, 4]), ("shared", [1, 2, 2, 4]), ("dense", [1, 2, 2, 3])]
)
async def test_ties_are_ranked_by_the_published_rule(shop: Shop, ties: Any, ranks: list[int]) -> None:
    """agoragames/leaderboard #25, ProjectLighthouse #418: what a tie means was left open."""
    await put_live(shop, "challenge", RACE | {"leaderboard": {"ties": ties}})
    await visit(shop, "ann", "ann", "ann", "cem", "cem", "bob", "bob", "dora")

    async with shop.database.read() as session:
        board = await running_ranks(session, "race", "2026-05", ties, after=0, limit=10)

    assert [line.customer_id for line in board] == ["ann", "cem", "bob", "dora"]
    assert [line.rank for line in board] == ranks


async def test_a_finished_month_is_final_whatever_comes_later_and_pays_from_the_snapshot(shop: Shop) -> None:
    await put_live(shop, "programme", PROGRAMME)
    await put_live(shop, "challenge", RACE)
    await visit(shop, "ann", "ann", "bob")
    in_may = shop.now
    shop.later(days=31)

    await run_errands(shop)
    for _ in range(5):
        await shop.track("Store Visited", user_id="bob", timestamp=in_may)
    await run_errands(shop)

    async with shop.database.read() as session:
        final = await final_ranks(session, "race", "2026-05", after=0, limit=10)
    assert [(line.rank, line.customer_id, int(line.figure)) for line in final] == [(1, "ann", 2), (2, "bob", 1)]
    assert [(await balance(shop, user)).available for user in ("ann", "bob")] == [100, 10]


async def test_a_running_month_and_its_day_of_grace_are_not_final(shop: Shop) -> None:
    await put_live(shop, "challenge", RACE)
    await visit(shop, "ann")
    shop.now = shop.now.replace(month=6, day=1, hour=23)

    await run_errands(shop)

    async with shop.database.read() as session:
        assert (await session.execute(select(LeaderboardRank))).all() == []


async def test_whoever_opted_out_has_no_rank_and_leaves_no_gap(shop: Shop) -> None:
    await put_live(shop, "challenge", RACE)
    await visit(shop, "ann", "ann", "bob")
    await shop.identify({"leaderboard_opt_out": True}, user_id="ann")

    async with shop.database.read() as session:
        board = await running_ranks(session, "race", "2026-05", "first", after=0, limit=10)

    assert [(line.rank, line.customer_id) for line in board] == [(1, "bob")]


async def test_an_errand_is_told_page_by_page_and_ends(shop: Shop) -> None:
    await visit(shop, "ann", "bob", "cem", "dora", "eve")
    await put_live(shop, "challenge", RACE | {"from": "2026-01-01"})
    async with shop.database.transaction() as session:
        await recount(session, "race", 1, shop.now)

    await run_errands(shop, at_once=2)

    assert await progress(shop) == {("race", "2026-05"): 5}
    async with shop.database.read() as session:
        assert [
            errand.done_at is not None for errand in (await session.execute(select(ChallengeErrand))).scalars()
        ] == [True]


_MEMBERS = text("""
    WITH made AS (
        INSERT INTO customers (id, external_id, traits, trait_times, first_seen, last_seen, last_number)
        SELECT gen_random_uuid(), 'm-' || n, '{}', '{}', :now, :now, 1 FROM generate_series(1, 3000) AS n
        RETURNING id, substr(external_id, 3)::int AS n
    )
    INSERT INTO challenge_progress (challenge, period, customer_id, figure, round, last_at, version)
    SELECT 'race', '2026-05', id, n / 2, 1, :now, 1 FROM made
""")
_READ = text("""
    SELECT coalesce(sum(seq_tup_read + idx_tup_fetch), 0)::int FROM pg_stat_xact_user_tables
    WHERE relname = 'challenge_progress'
""")


@pytest.mark.parametrize("ties", ["first", "shared", "dense"])
async def test_a_page_of_a_leaderboard_reads_nobody_behind_it_and_ranks_as_the_whole_does(
    shop: Shop, ties: Any
) -> None:
    async with shop.database.transaction() as session:
        await session.execute(_MEMBERS, {"now": shop.now})
        await session.execute(text("ANALYZE customers"))
        await session.execute(text("ANALYZE challenge_progress"))
    async with shop.database.read() as session:
        before = (await session.execute(_READ)).scalar_one()
        page = await running_ranks(session, "race", "2026-05", ties, after=101, limit=20)
        read = (await session.execute(_READ)).scalar_one() - before
    async with shop.database.read() as session:
        whole = await running_ranks(session, "race", "2026-05", ties, after=0, limit=5_000)

    assert page == whole[101:121]
    assert len(whole) == 2_999  # whoever has nothing is not in it
    assert 0 < read <= 121
