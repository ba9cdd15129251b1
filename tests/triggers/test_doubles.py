"""Two customers turn out to be one: which of their runs go on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from database.messages import Message
from domain.events import EventKind
from domain.ids import new_id
from tests.triggers.shop import Shop, abandoned_cart

ORDER = "properties.order_id"


def journey(**enter: Any) -> dict[str, Any]:
    """A journey whose runs stand at a wait."""
    return abandoned_cart(enter={"on": {"event": "Order Completed"}, **enter}, exit=[])


def receipt(**enter: Any) -> dict[str, Any]:
    return journey(occasion=ORDER, **enter) | {"purpose": "transactional"}


async def merge(shop: Shop) -> None:
    await shop.post(shop.event(kind=EventKind.ALIAS, user_id="new", previous_id="old"))
    await shop.route()


async def order(shop: Shop, order_id: str, **given: Any) -> None:
    await shop.track("Order Completed", {"order_id": order_id}, **given)
    shop.later(minutes=1)


async def states(shop: Shop) -> list[tuple[str, str | None]]:
    """Of all runs, the oldest first."""
    return [(run.state, run.reason) for run in await shop.runs()]


UNDER_WAY, ENDED = ("active", None), ("exited", "merged")


async def test_receipts_of_two_orders_both_go_on_when_their_customers_merge(shop: Shop) -> None:
    await shop.publish(receipt(again={"while_active": True}))
    await order(shop, "o-1", user_id="old")
    await order(shop, "o-2", user_id="new")

    await merge(shop)

    assert await states(shop) == [UNDER_WAY, UNDER_WAY]
    assert {run.customer_id for run in await shop.runs()} == {(await shop.customer("new")).id}


async def test_one_order_reported_under_two_ids_gets_one_receipt_when_they_merge(shop: Shop) -> None:
    await shop.publish(receipt(again={"while_active": True}))
    await order(shop, "o-1", user_id="old")
    await order(shop, "o-1", user_id="new")

    await merge(shop)

    assert await states(shop) == [UNDER_WAY, ENDED]


async def test_three_ids_that_merge_in_turn_keep_one_run_for_each_order(shop: Shop) -> None:
    await shop.publish(receipt(again={"while_active": True}))
    for user_id, order_id in (("old", "o-1"), ("new", "o-1"), ("third", "o-1"), ("third", "o-2")):
        await order(shop, order_id, user_id=user_id)

    await merge(shop)
    await shop.post(shop.event(kind=EventKind.ALIAS, user_id="third", previous_id="new"))
    await shop.route()

    assert await states(shop) == [UNDER_WAY, ENDED, ENDED, UNDER_WAY]


@pytest.mark.parametrize("again", [None, {"after": "7d"}, {"while_active": False}])
async def test_a_journey_with_room_for_one_run_keeps_the_older_one_when_customers_merge(
    shop: Shop, again: dict[str, Any] | None
) -> None:
    await shop.publish(journey(again=again, occasion=ORDER))
    await order(shop, "o-1", user_id="old")
    await order(shop, "o-2", user_id="new")

    await merge(shop)

    assert await states(shop) == [UNDER_WAY, ENDED]


async def test_a_receipt_that_has_not_left_is_never_lost_to_a_merge(shop: Shop) -> None:
    await shop.publish(receipt())  # lets nobody in who is in it: the second order came under another id
    await order(shop, "o-1", user_id="old")
    await order(shop, "o-2", user_id="new")

    await merge(shop)

    assert await states(shop) == [UNDER_WAY, UNDER_WAY]


async def test_a_receipt_that_has_left_gives_way_to_the_older_run(shop: Shop) -> None:
    await shop.publish(receipt())
    await order(shop, "o-1", user_id="old")
    await order(shop, "o-2", user_id="new")
    await has_sent(shop, (await shop.runs())[1].id)

    await merge(shop)

    assert await states(shop) == [UNDER_WAY, ENDED]


@pytest.mark.parametrize("occasion", ["o-1", "o-2"], ids=["one order", "two orders"])
async def test_a_run_that_a_browser_began_never_ends_a_trusted_one_when_they_merge(shop: Shop, occasion: str) -> None:
    await shop.publish(journey(occasion=ORDER))
    await order(shop, "o-1", user_id="old", trusted=False)
    await order(shop, occasion, user_id="new")

    await merge(shop)

    assert [(run.trusted, run.state) for run in await shop.runs()] == [(False, "exited"), (True, "active")]


async def test_runs_of_different_journeys_never_end_one_another(shop: Shop) -> None:
    await shop.publish(journey())
    await shop.publish(journey() | {"journey": "other"})
    await order(shop, "o-1", user_id="old")

    await merge(shop)

    assert await states(shop) == [UNDER_WAY, UNDER_WAY]


async def has_sent(shop: Shop, run_id: UUID) -> None:
    """Its message was accepted by a provider."""
    (run,) = [run for run in await shop.runs() if run.id == run_id]
    async with shop.database.transaction() as session:
        session.add(
            Message(
                id=new_id(),
                run_id=run_id,
                customer_id=run.customer_id,
                step="mail",
                visit=1,
                channel="email",
                purpose="transactional",
                template="hello",
                state="accepted",
                created_at=shop.now,
                accepted_at=shop.now,
                not_after=shop.now + timedelta(days=1),
                attempts=[],
                headers={},
                resent=False,
            )
        )
