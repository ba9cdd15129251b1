"""Members together and against each other: communities, ranks while they run and when they are final, their prizes."""

from __future__ import annotations

import contextlib
import itertools
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select, text

from database import challenge_totals
from database.challenge_errands import ChallengeErrand, find_errands, recount
from database.challenges import community_figure
from database.leaderboard_closing import LeaderboardEntrant, close_some, find_ended
from database.leaderboards import LeaderboardRank, Place, Ranked, final_ranks, running_ranks, snapshot_of
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
        board = await running_ranks(session, "race", "2026-05", ties, after=None, limit=10)

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
    await shop.identify({"leaderboard_opt_out": True}, user_id="bob", trusted=False)  # as a rival would say

    async with shop.database.read() as session:
        board = await running_ranks(session, "race", "2026-05", "first", after=None, limit=10)

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


async def test_what_a_community_came_to_is_known_without_adding_its_members_up(shop: Shop) -> None:
    trees = {"challenge": "trees", "metric": {"count": "Order Completed"}, "community": {"contribute": 2}}
    await put_live(shop, "challenge", trees | {"levels": [{"level": "wood", "at": 5}]})
    async with shop.database.transaction() as session:
        await session.execute(_MANY, {"now": shop.now})
    async with shop.database.transaction() as session:
        while await challenge_totals.add_up(session, shop.now, limit=1):
            pass
    await order(shop, "o-1", user_id="ann")

    async with shop.database.transaction() as session:
        await find_errands(session, shop.now)
        figure = await community_figure(session, "trees", "ever")
        read = (await session.execute(_READ)).scalar_one()
    assert (figure, read) == (Decimal(3000 + 1), 0)

    async with shop.database.transaction() as session:
        await session.execute(text("UPDATE challenge_progress SET figure = figure + 1"))
        await session.execute(text("DELETE FROM challenge_progress WHERE figure = 2"))
        assert await community_figure(session, "trees", "ever") == 0


_MANY = text("""
    WITH made AS (
        INSERT INTO customers (id, external_id, traits, trait_times, first_seen, last_seen, last_number)
        SELECT gen_random_uuid(), 'm-' || n, '{}', '{}', :now, :now, 1 FROM generate_series(1, 3000) AS n
        RETURNING id
    )
    INSERT INTO challenge_progress (challenge, period, customer_id, figure, round, last_at, version)
    SELECT 'trees', 'ever', id, 1, 1, :now, 1 FROM made
""")
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
async def test_a_page_of_a_leaderboard_reads_nobody_but_its_members_and_ranks_as_the_whole_does(
    shop: Shop, ties: Any
) -> None:
    async with shop.database.transaction() as session:
        await session.execute(_MEMBERS, {"now": shop.now})
        await session.execute(text("SET LOCAL ROLE NONE"))  # the application itself may not
        await session.execute(text("ANALYZE customers"))
        await session.execute(text("ANALYZE challenge_progress"))
    async with shop.database.read() as session:
        whole = await running_ranks(session, "race", "2026-05", ties, after=None, limit=5_000)
    assert len(whole) == 2_999  # whoever has nothing is not in it

    seen: list[Ranked] = []
    for limit in itertools.cycle([1, 20, 53]):
        async with shop.database.read() as session:
            before = (await session.execute(_READ)).scalar_one()
            after = _place(seen[-1]) if seen else None
            page = await running_ranks(session, "race", "2026-05", ties, after=after, limit=limit)
            assert (await session.execute(_READ)).scalar_one() - before <= 2 * limit + 10
        seen += page
        if len(page) < limit:
            break

    assert seen == whole


@pytest.mark.parametrize("ties", ["first", "shared", "dense"])
async def test_a_month_becomes_final_in_pages_and_goes_on_where_a_worker_died(shop: Shop, ties: Any) -> None:
    await put_live(shop, "challenge", RACE | {"leaderboard": {"ties": ties}})
    async with shop.database.transaction() as session:
        await session.execute(_MEMBERS, {"now": shop.now})
    async with shop.database.read() as session:
        whole = await running_ranks(session, "race", "2026-05", ties, after=None, limit=5_000)
    shop.later(days=40)
    async with shop.database.transaction() as session:
        await find_ended(session, shop.now)

    pages = 0
    while True:
        with contextlib.suppress(_DiedError):
            async with shop.database.transaction() as session:
                if not await close_some(session, shop.now, at_once=271):
                    break
                pages += 1
                if pages % 3 == 0:
                    raise _DiedError
        async with shop.database.transaction() as session:  # a late event, of somebody far behind
            await session.execute(_LATE, {"number": pages})
            is_final = await snapshot_of(session, "race", "2026-05") is not None

    assert is_final
    async with shop.database.read() as session:
        final = await final_ranks(session, "race", "2026-05", after=0, limit=5_000)
        snapshot = await snapshot_of(session, "race", "2026-05")
        left = (await session.execute(select(LeaderboardEntrant))).all()
    assert [line.position for line in final] == list(range(1, len(whole) + 1))
    moved = {line.member for line in whole if line.figure < 1_000_000} - {
        line.member for line in final if line.figure >= 1_000_000
    }
    untouched = [line.member for line in whole if line.member in moved]
    assert [line.member for line in final if line.member in moved] == untouched
    assert [line.rank for line in final] == _ranks([line.figure for line in final], ties)
    assert (snapshot and snapshot.members, snapshot and snapshot.ties, left) == (len(whole), ties, [])


def _place(line: Ranked) -> Place:
    return Place(line.position, line.rank, line.figure, line.last_at, line.member)


class _DiedError(Exception):
    """The worker, in the middle of a page."""


_LATE = text("""
    UPDATE challenge_progress SET figure = figure + 1000000
    WHERE customer_id = (SELECT id FROM customers WHERE external_id = 'm-' || CAST(:number AS int) * 20 + 5)
""")


def _ranks(figures: list[Any], ties: str) -> list[int]:
    """The ranks of figures in their order."""
    if ties == "first":
        return list(range(1, len(figures) + 1))
    places = sorted(set(figures), reverse=True) if ties == "dense" else figures
    return [places.index(figure) + 1 for figure in figures]


async def test_of_equal_figures_whoever_reached_the_figure_first_leads(shop: Shop) -> None:
    """What changes no figure, such as an item that counts already, makes nobody later."""
    explorers = RACE | {"metric": {"distinct": "properties.store", "over": "Store Visited"}}
    await put_live(shop, "challenge", explorers | {"leaderboard": {"ties": "first"}})
    for user, store in [("ann", "north"), ("ann", "south"), ("bob", "north"), ("bob", "east"), ("ann", "south")]:
        shop.later(minutes=1)
        await shop.track("Store Visited", {"store": store}, user_id=user)

    async with shop.database.read() as session:
        board = await running_ranks(session, "race", "2026-05", "first", after=None, limit=10)

    assert [(line.rank, line.customer_id, int(line.figure)) for line in board] == [(1, "ann", 2), (2, "bob", 2)]
