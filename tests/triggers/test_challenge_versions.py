"""What a challenge gave goes by the version that gave it: it is never given again, and returns reach it."""

from __future__ import annotations

from typing import Any

import pytest

from database import documents
from database.challenge_errands import recount
from domain.documents import DocumentState
from domain.events import EventKind
from tests.challenging import PROGRAMME, TWO_ORDERS, balance, completions, order, progress, put_live, run_errands
from tests.triggers.shop import Shop

REVOKES: dict[str, Any] = TWO_ORDERS | {"refunds": "revoke"}


@pytest.fixture
async def completed(shop: Shop) -> Shop:
    """A member has completed a challenge that takes back what is returned."""
    await put_live(shop, "programme", PROGRAMME)
    await put_live(shop, "challenge", REVOKES)
    await order(shop, "o-1")
    await order(shop, "o-2")
    assert (await balance(shop)).available == 50
    shop.later(days=2)
    return shop


async def publish(shop: Shop, document: dict[str, Any], state: DocumentState = DocumentState.LIVE) -> None:
    """Another version, and everybody counted again, as publishing does."""
    version = await put_live(shop, "challenge", document, state)
    async with shop.database.transaction() as session:
        await recount(session, document["challenge"], version, shop.now)
    await run_errands(shop)


# Returns reach what was given --------------------------------------------------------------------


@pytest.mark.parametrize(
    "document",
    [
        REVOKES | {"name": "A typing error mended"},
        REVOKES | {"refunds": "uncount"},
        REVOKES | {"levels": [{"level": "other", "at": 2, "points": 50}]},
        REVOKES | {"window": {"every": "month"}},
        REVOKES | {"metric": {"count": "Store Visited"}},
    ],
    ids=["name", "policy", "level", "window", "metric"],
)
async def test_a_return_takes_back_what_an_earlier_version_gave(completed: Shop, document: dict[str, Any]) -> None:
    await publish(completed, document)

    await completed.track("Order Cancelled", {"order_id": "o-1"})

    assert (await balance(completed)).available == 0
    assert [done.revoked_at is None for done in await completions(completed)] == [False]


async def test_a_return_during_a_pause_takes_back_at_once(completed: Shop) -> None:
    await publish(completed, REVOKES, DocumentState.PAUSED)

    await completed.track("Order Cancelled", {"order_id": "o-1"})

    assert (await balance(completed)).available == 0


async def test_a_return_takes_back_what_a_challenge_gave_that_is_archived_now(completed: Shop) -> None:
    async with completed.database.transaction() as session:
        row = await documents.lock(session, "challenge", "two-orders")
        assert row is not None
        await documents.set_state(session, row, DocumentState.ARCHIVED, completed.now)

    await completed.track("Order Cancelled", {"order_id": "o-1"})

    assert (await balance(completed)).available == 0


async def test_a_return_after_a_merge_takes_back(completed: Shop) -> None:
    await completed.identify(user_id="u-2")
    await completed.post(completed.event(kind=EventKind.ALIAS, user_id="u-2", previous_id="u-1"))
    await completed.route()

    await completed.track("Order Cancelled", {"order_id": "o-1"}, user_id="u-2")

    assert (await balance(completed)).available == 0


async def test_a_harder_version_takes_nothing_from_whoever_has_more_than_the_earlier_one_asked(
    completed: Shop,
) -> None:
    await order(completed, "o-3")
    await publish(completed, REVOKES | {"levels": [{"level": "done", "at": 5, "points": 50}]})

    await completed.track("Order Cancelled", {"order_id": "o-1"})

    assert (await balance(completed)).available == 50
    assert await progress(completed) == {("two-orders", "ever"): 2}


async def test_an_easier_version_lets_whoever_reaches_it_keep_what_was_given(completed: Shop) -> None:
    await publish(completed, REVOKES | {"levels": [{"level": "done", "at": 1, "points": 50}]})

    await completed.track("Order Cancelled", {"order_id": "o-1"})

    assert (await balance(completed)).available == 50


async def test_the_next_order_takes_no_prize_of_a_community_from_who_gave_enough(shop: Shop) -> None:
    await put_live(shop, "programme", PROGRAMME)
    await put_live(shop, "challenge", REVOKES | {"community": {"contribute": 1}})
    await order(shop, "o-1")
    await order(shop, "o-2", user_id="u-2")
    await run_errands(shop)
    assert (await balance(shop)).available == 50

    await order(shop, "o-3")
    assert (await balance(shop)).available == 50

    for order_id in ("o-1", "o-3"):
        await shop.track("Order Cancelled", {"order_id": order_id})
    assert (await balance(shop)).available == 0
    assert (await balance(shop, "u-2")).available == 50


# A new version never pays again ------------------------------------------------------------------


@pytest.mark.parametrize(
    "document",
    [
        TWO_ORDERS | {"levels": [{"level": "finished", "at": 2, "points": 50}]},
        TWO_ORDERS | {"levels": [{"level": "finished", "at": 1, "points": 50}]},
        TWO_ORDERS | {"window": {"every": "month"}},
        TWO_ORDERS | {"window": {"every": "month"}, "levels": [{"level": "finished", "at": 2, "points": 50}]},
    ],
    ids=["renamed", "renamed and lowered", "window", "renamed and window"],
)
async def test_a_new_version_never_pays_again(loyal_shop: Shop, document: dict[str, Any]) -> None:
    await order(loyal_shop, "o-1")
    await order(loyal_shop, "o-2")

    await publish(loyal_shop, document)
    loyal_shop.later(hours=1)
    await order(loyal_shop, "o-3")

    assert (await balance(loyal_shop)).available == 50
    assert len(await completions(loyal_shop)) == 1


async def test_what_comes_after_a_window_was_added_is_paid(loyal_shop: Shop) -> None:
    await order(loyal_shop, "o-1")
    await order(loyal_shop, "o-2")
    await publish(loyal_shop, TWO_ORDERS | {"window": {"every": "month"}})

    loyal_shop.later(days=40)
    await order(loyal_shop, "o-3")
    await order(loyal_shop, "o-4")

    assert (await balance(loyal_shop)).available == 100


async def test_a_window_that_is_taken_away_pays_nothing_again(shop: Shop) -> None:
    await put_live(shop, "programme", PROGRAMME)
    await put_live(shop, "challenge", TWO_ORDERS | {"window": {"every": "month"}})
    await order(shop, "o-1")
    await order(shop, "o-2")

    await publish(shop, TWO_ORDERS)

    assert (await balance(shop)).available == 50


async def test_a_higher_level_beside_a_renamed_one_is_paid(loyal_shop: Shop) -> None:
    await order(loyal_shop, "o-1")
    await order(loyal_shop, "o-2")
    levels = [{"level": "finished", "at": 2, "points": 50}, {"level": "more", "at": 3, "points": 7}]

    await publish(loyal_shop, TWO_ORDERS | {"levels": levels})
    loyal_shop.later(hours=1)
    await order(loyal_shop, "o-3")

    assert (await balance(loyal_shop)).available == 57


async def test_a_renamed_level_goes_on_with_the_rounds_that_were_not_given(shop: Shop) -> None:
    await put_live(shop, "programme", PROGRAMME)
    await put_live(shop, "challenge", TWO_ORDERS | {"repeat": {"most": 5}})
    for number in range(4):
        await order(shop, f"o-{number}")
    assert (await balance(shop)).available == 100

    await publish(shop, TWO_ORDERS | {"repeat": {"most": 5}, "levels": [{"level": "finished", "at": 2, "points": 50}]})
    assert (await balance(shop)).available == 100
    shop.later(hours=1)
    for number in range(4, 6):
        await order(shop, f"o-{number}")

    assert (await balance(shop)).available == 150
