"""Who enters a journey, who is kept out and why: each line of the journey language about entries."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from database.outbox import Command
from domain.documents import DocumentState
from domain.events import EventKind
from tests.triggers.shop import Shop, abandoned_cart
from triggers.enrolment import in_holdout


def journey(**enter: Any) -> dict[str, Any]:
    return abandoned_cart(enter={"on": {"event": "Product Added"}, **enter})


async def reasons(shop: Shop) -> list[str | None]:
    return [decision.reason for decision in await shop.decisions()]


async def test_an_event_enters_a_customer_and_commands_the_start_without_personal_data(shop: Shop) -> None:
    await shop.publish(abandoned_cart(name="Abandoned cart"))
    await shop.identify({"email": "ann@shop.example"})
    await shop.track("Product Added", {"cart_id": "cart-1"})
    [run] = await shop.runs()
    customer = await shop.customer()
    assert (run.occasion, run.version, run.state, run.shadow) == ("cart-1", 1, "active", False)
    assert (run.entry_number, run.seen_number) == (2, 2)
    async with shop.database.read() as session:
        [command] = (await session.execute(select(Command))).scalars()
    assert command.workflow_id == run.workflow_id
    assert command.workflow_id.startswith(f"journey/abandoned-cart/{customer.id}/")
    assert command.payload["attributes"]["CustomerId"] == str(customer.id)
    assert "ann@" not in str(command.payload)
    assert "cart-1" not in str(command.payload) + command.workflow_id


async def test_the_first_predicate_that_fails_is_remembered(shop: Shop) -> None:
    where = [{"property": "price", "gte": 20}, {"property": "currency", "eq": "EUR"}]
    await shop.publish(journey(on={"event": "Product Added", "where": where}))
    await shop.track("Product Added", {"price": 30, "currency": "USD"})
    [decision] = await shop.decisions()
    assert (decision.outcome, decision.reason, decision.failed_leaf) == ("kept_out", "where", "/enter/on/where/1")


async def test_a_condition_is_judged_by_the_state_at_the_event_not_after_it(shop: Shop) -> None:
    await shop.publish(journey(**{"if": {"all": [{"trait": "plan", "eq": "gold"}]}}))
    await shop.post(
        shop.event(kind=EventKind.IDENTIFY, traits={"plan": "basic"}),
        shop.event("Product Added"),
        shop.event(kind=EventKind.IDENTIFY, traits={"plan": "gold"}),
        shop.event("Product Added"),
    )
    await shop.route()
    first, second = await shop.decisions()
    assert (first.reason, first.failed_leaf) == ("condition", "/enter/if/all/0")
    assert second.outcome == "entered"


async def test_a_condition_counts_the_event_at_hand_and_none_after_it(shop: Shop) -> None:
    await shop.publish(journey(**{"if": {"did": "Product Added", "exactly": 2}}))
    await shop.post(*(shop.event("Product Added") for _ in range(3)))
    await shop.route()
    assert [decision.outcome for decision in await shop.decisions()] == ["kept_out", "entered", "kept_out"]


async def test_one_run_for_each_customer_and_occasion_ever(shop: Shop) -> None:
    await shop.publish(abandoned_cart(enter={"on": {"event": "Product Added"}, "occasion": "properties.cart_id"}))
    await shop.track("Product Added", {"cart_id": 7})
    await shop.track("Order Completed")
    await shop.track("Product Added", {"cart_id": 7})
    assert [run.occasion for run in await shop.runs()] == ["7"]
    assert (await reasons(shop))[-1] == "occasion_taken"


async def test_one_occasion_may_be_written_as_text_or_number(shop: Shop) -> None:
    await shop.publish(abandoned_cart(enter={"on": {"event": "Product Added"}, "occasion": "properties.cart_id"}))
    for cart in (7, 7.0, "7", {"id": [8]}, {"id": [8.0]}):
        await shop.track("Product Added", {"cart_id": cart})
        await shop.track("Order Completed")
    assert [run.occasion for run in await shop.runs()] == ["7", '{"id":[8]}']


async def test_an_event_without_the_occasions_path_does_not_enter(shop: Shop) -> None:
    await shop.publish(abandoned_cart())
    await shop.track("Product Added", {"cart_id": None})
    assert await reasons(shop) == ["occasion_missing"]


async def test_without_again_nobody_enters_beside_an_active_run(shop: Shop) -> None:
    await shop.publish(journey())
    await shop.track("Product Added")
    await shop.track("Product Added")
    await shop.track("Order Completed")
    await shop.track("Product Added")
    assert await reasons(shop) == [None, "already_active", None]


async def test_again_limits_further_entries_in_time_and_number(shop: Shop) -> None:
    await shop.publish(journey(again={"after": "7d", "at_most": 2, "per": "30d", "while_active": True}))
    for days in (0, 1, 7, 8, 30):
        await shop.track("Product Added")
        shop.later(days=days)
    assert await reasons(shop) == [None, "again_after", "again_after", None, "again_at_most"]


async def test_a_paused_journey_takes_nobody_in(shop: Shop) -> None:
    await shop.publish(journey(), DocumentState.PAUSED)
    await shop.track("Product Added")
    assert await reasons(shop) == ["paused"]


async def test_a_version_published_between_two_events_counts_for_the_second(shop: Shop) -> None:
    await shop.publish(journey(again={"while_active": True}))
    await shop.track("Product Added")
    await shop.publish(journey(on={"event": "Product Viewed"}))
    await shop.track("Product Added")
    await shop.track("Product Viewed")
    assert [(run.version, run.entry["event"]) for run in await shop.runs()] == [(1, "Product Added")]
    assert (await reasons(shop))[-1] == "already_active"


async def test_the_holdout_is_sticky_and_its_share_is_right(shop: Shop) -> None:
    await shop.publish(journey(holdout=30))
    await shop.post(*(shop.event("Product Added", user_id=f"u-{number}") for number in range(200)))
    await shop.route()
    runs = await shop.runs()
    assert 35 <= sum(run.shadow for run in runs) <= 85
    assert all(run.shadow == in_holdout(run.customer_id, "abandoned-cart", 30) for run in runs)


async def test_an_anonymous_visitor_enters_once_known_judged_by_what_is_true_then(shop: Shop) -> None:
    await shop.publish(journey(**{"if": {"trait": "plan", "eq": "gold"}}))
    await shop.track("Product Added", {"cart_id": "c"}, anonymous_id="browser")
    assert await reasons(shop) == ["unidentified"]
    await shop.identify({"plan": "gold"}, user_id="u-1", anonymous_id="browser")
    [run] = await shop.runs()
    assert run.entry["properties"] == {"cart_id": "c"}
    assert run.customer_id == (await shop.customer()).id
    assert await reasons(shop) == [None]


async def test_it_makes_no_difference_whether_visit_and_identify_come_together(shop: Shop) -> None:
    await shop.publish(journey(**{"if": {"trait": "plan", "eq": "gold"}}))
    visit = shop.event("Product Added", anonymous_id="browser")
    identify = shop.event(kind=EventKind.IDENTIFY, user_id="u-1", anonymous_id="browser", traits={"plan": "gold"})
    await shop.post(visit, identify)
    await shop.route()
    assert len(await shop.runs()) == 1


async def test_a_visitor_who_bought_before_we_knew_them_does_not_enter(shop: Shop) -> None:
    await shop.publish(journey())
    await shop.track("Product Added", anonymous_id="browser")
    await shop.track("Order Completed", anonymous_id="browser")
    await shop.identify(user_id="u-1", anonymous_id="browser")
    assert await shop.runs() == []
    assert await reasons(shop) == ["over_already"]


async def test_a_start_step_enters_another_journey_and_loops_end(shop: Shop) -> None:
    await shop.publish(journey(on={"api": True}, again={"while_active": True}))
    properties = {"journey": "abandoned-cart", "properties": {"gift": "tea"}}
    for depth in (1, 11):
        await shop.track("", properties, kind=EventKind.START, own=True, depth=depth)
    await shop.track("", properties, kind=EventKind.START, source="shop")
    [run] = await shop.runs()
    assert (run.entry["properties"], run.depth) == ({"gift": "tea"}, 1)
    assert await reasons(shop) == [None, "loop"]


async def test_any_of_several_entries_enters_once_for_an_event(shop: Shop) -> None:
    both = [{"event": "Product Added"}, {"event": "Product Added", "where": [{"property": "price", "gt": 1}]}]
    await shop.publish(journey(on={"any": [*both, {"event": "Signed Up"}]}, again={"while_active": True}))
    await shop.track("Product Added", {"price": 2})
    await shop.track("Signed Up")
    assert len(await shop.runs()) == 2


POT, ROSE = {"sku": "POT", "price": 30}, {"sku": "ROSE", "price": 5}


def for_each(**enter: Any) -> dict[str, Any]:
    return journey(**({"on": {"event": "Order Delivered"}, "for_each": "properties.products"} | enter))


async def occasions(shop: Shop) -> list[str]:
    return [run.occasion for run in await shop.runs()]


async def test_each_item_of_a_list_enters_by_itself(shop: Shop) -> None:
    await shop.publish(for_each())
    await shop.track("Order Delivered", {"products": [POT, ROSE, None]}, message_id="m")

    runs = await shop.runs()

    assert [(run.entry["item"], run.state) for run in runs] == [(POT, "active"), (ROSE, "active")]
    assert await occasions(shop) == ["m/0", "m/1"]
    assert len({run.workflow_id for run in runs}) == 2
    assert [(decision.outcome, decision.reason) for decision in await shop.decisions()] == [("entered", None)]


async def test_the_condition_and_the_occasion_may_ask_for_the_item(shop: Shop) -> None:
    await shop.publish(for_each(occasion="item.sku", **{"if": {"event": "item.price", "gte": 10}}))
    await shop.track("Order Delivered", {"products": [ROSE, POT, POT]})
    assert await occasions(shop) == ["POT"]

    await shop.publish(for_each(occasion="item.sku", again={"while_active": True}))
    await shop.track("Order Delivered", {"products": [POT, ROSE]})
    assert await occasions(shop) == ["POT", "ROSE"]


async def test_items_of_one_occasion_outside_of_them_all_enter_and_once(shop: Shop) -> None:
    await shop.publish(for_each(occasion="properties.order_id", again={"while_active": True}))
    for _ in range(2):
        await shop.track("Order Delivered", {"order_id": 7, "products": [POT, ROSE]})

    assert await occasions(shop) == ["7/0", "7/1"]


async def test_items_do_not_bar_one_another_but_bar_those_of_a_later_event(shop: Shop) -> None:
    await shop.publish(for_each(again={"after": "7d", "at_most": 1}))
    await shop.track("Order Delivered", {"products": [POT, ROSE]}, message_id="m")
    await shop.track("Order Delivered", {"products": [POT]})

    assert await occasions(shop) == ["m/0", "m/1"]
    assert await reasons(shop) == [None, "already_active"]


async def test_at_most_fifty_items_of_an_event_enter(shop: Shop) -> None:
    await shop.publish(for_each())
    await shop.track("Order Delivered", {"products": [{"sku": str(number)} for number in range(60)]})

    assert len(await shop.runs()) == 50


@pytest.mark.parametrize("properties", [{}, {"products": []}, {"products": POT}, {"products": [None]}])
async def test_without_a_list_nobody_enters(shop: Shop, properties: dict[str, Any]) -> None:
    await shop.publish(for_each())
    await shop.track("Order Delivered", properties)

    assert await shop.runs() == []
    assert await reasons(shop) == ["items_missing"]


async def test_items_of_a_visitor_enter_once_we_know_who_it_is(shop: Shop) -> None:
    await shop.publish(for_each(occasion="item.sku"))
    await shop.track("Order Delivered", {"products": [POT, ROSE]}, anonymous_id="a-1")
    assert await occasions(shop) == []

    await shop.identify({}, user_id="u-1", anonymous_id="a-1")

    assert await occasions(shop) == ["POT", "ROSE"]


async def test_a_merge_ends_no_run_about_another_item_of_the_same_event(shop: Shop) -> None:
    await shop.publish(for_each())
    await shop.identify({}, user_id="u-2")
    await shop.track("Order Delivered", {"products": [POT, ROSE]})
    await shop.post(shop.event(kind=EventKind.ALIAS, user_id="u-1", previous_id="u-2"))
    await shop.route()

    assert [run.state for run in await shop.runs()] == ["active", "active"]
