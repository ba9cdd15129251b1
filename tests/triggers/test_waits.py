"""What events do to runs under way: exits, waits, restarts, goals, in this order."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from database.outbox import Command
from database.runs import Run, Wait
from domain.documents import DocumentState
from domain.events import EventKind
from tests.triggers.shop import Shop, abandoned_cart


async def enter(shop: Shop, **changes: Any) -> Run:
    """A customer in a journey, standing at its `quiet` wait."""
    await shop.publish(abandoned_cart(enter={"on": {"event": "Product Added"}}, **changes))
    await shop.track("Product Added", {"cart_id": "c-1"})
    [run] = await shop.runs()
    await stand(shop, run)
    return run


async def stand(shop: Shop, run: Run, step: str = "quiet") -> None:
    async with shop.database.transaction() as session:
        session.add(
            Wait(
                run_id=run.id,
                step=step,
                visit=1,
                customer_id=run.customer_id,
                version=run.version,
                status="waiting",
                registered_at=shop.now,
                deadline=shop.now + timedelta(hours=1),
            )
        )


async def wait_of(shop: Shop) -> Wait:
    async with shop.database.read() as session:
        return (await session.execute(select(Wait))).scalar_one()


async def wakes(shop: Shop) -> int:
    async with shop.database.read() as session:
        return len((await session.execute(select(Command).where(Command.kind == "wake"))).all())


def waiting(*alternatives: dict[str, Any], restart_on: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    return [{"wait_for": {"id": "quiet", "timeout": "1h", "any": list(alternatives), "restart_on": restart_on or []}}]


async def test_an_exit_ends_the_run_cancels_its_wait_and_wakes_it(shop: Shop) -> None:
    await enter(shop)
    await shop.track("Order Completed")
    [run] = await shop.runs()
    assert (run.state, run.reason, run.ended_at) == ("exited", "exit: Order Completed", shop.now)
    assert (await wait_of(shop)).status == "cancelled"
    assert await wakes(shop) == 1


async def test_an_exit_may_refer_to_the_entry(shop: Shop) -> None:
    same_cart = [{"property": "cart_id", "eq": {"entry": "properties.cart_id"}}]
    await enter(shop, exit=[{"event": "Order Completed", "where": same_cart}])
    await shop.track("Order Completed", {"cart_id": "other"})
    assert [run.state for run in await shop.runs()] == ["active"]
    await shop.track("Order Completed", {"cart_id": "c-1"})
    assert [run.state for run in await shop.runs()] == ["exited"]


async def test_the_first_matching_alternative_meets_the_wait_once(shop: Shop) -> None:
    await enter(shop, exit=[], steps=waiting({"event": "A", "where": [{"property": "n", "gt": 1}]}, {"event": "A"}))
    await shop.track("A", {"n": 1})
    await shop.track("A", {"n": 2})
    wait = await wait_of(shop)
    assert (wait.status, wait.met_alternative) == ("met", 1)
    assert await wakes(shop) == 1


async def test_a_restart_moves_the_deadline_and_wakes_nobody(shop: Shop) -> None:
    await enter(shop)
    shop.later(minutes=30)
    await shop.track("Product Added")
    assert (await wait_of(shop)).deadline == shop.now + timedelta(hours=1)
    assert await wakes(shop) == 0


async def test_an_event_that_exits_meets_and_restarts_only_exits(shop: Shop) -> None:
    steps = waiting({"event": "Order Completed"}, restart_on=[{"event": "Order Completed"}])
    await enter(shop, steps=steps)
    await shop.track("Order Completed")
    assert [run.state for run in await shop.runs()] == ["exited"]
    assert (await wait_of(shop)).status == "cancelled"


async def test_a_message_counts_only_for_its_run_and_only_by_people(shop: Shop) -> None:
    run = await enter(shop, exit=[], steps=waiting({"message": "clicked", "step": "reminder"}))
    told = {"run_id": str(run.id), "step": "reminder"}
    await shop.track("Email Link Clicked", told, source="shop")
    await shop.track("Email Link Clicked", told | {"machine": True}, own=True)
    await shop.track("Email Link Clicked", told | {"step": "other"}, own=True)
    await shop.track("Email Opened", told, own=True)
    assert (await wait_of(shop)).status == "waiting"
    await shop.track("Email Link Clicked", told | {"machine": False}, own=True)
    assert (await wait_of(shop)).status == "met"


async def test_a_trait_that_changes_to_a_value_meets_the_wait(shop: Shop) -> None:
    await shop.identify({"address": {"city": "Rome", "zip": "1"}})
    await enter(shop, exit=[], steps=waiting({"trait": "address.city", "to": "Oslo"}))
    await shop.identify({"address": {"city": "Rome", "zip": "2"}})
    await shop.identify({"address": {"city": "Bari", "zip": "2"}})
    assert (await wait_of(shop)).status == "waiting"
    await shop.identify({"address": {"city": "Oslo", "zip": "2"}})
    assert (await wait_of(shop)).status == "met"


async def test_a_changed_zone_wakes_the_customers_runs(shop: Shop) -> None:
    await enter(shop)
    await shop.track("Page Viewed", context={"timezone": "Asia/Tokyo"})
    assert await wakes(shop) == 1


UNTIL_TRIAL_ENDS = [{"wait": {"id": "quiet", "until_date": {"trait": "trial.ends", "offset": "-2d"}}}]


async def test_a_changed_date_wakes_the_run_that_waits_until_it(shop: Shop) -> None:
    await shop.identify({"trial": {"ends": "2026-06-01", "plan": "gold"}})
    await enter(shop, steps=UNTIL_TRIAL_ENDS)
    await shop.identify({"city": "Rome"})
    assert await wakes(shop) == 0
    await shop.identify({"trial": {"ends": "2026-05-20", "plan": "gold"}})
    assert await wakes(shop) == 1


async def test_becoming_one_with_somebody_else_wakes_the_run_that_waits_until_a_date(shop: Shop) -> None:
    await shop.identify({"trial": {"ends": "2026-05-20"}}, user_id="other", timestamp=shop.now + timedelta(minutes=1))
    await shop.identify({"trial": {"ends": "2026-06-01"}})
    await enter(shop, steps=UNTIL_TRIAL_ENDS)
    await shop.post(shop.event(kind=EventKind.ALIAS, user_id="u-1", previous_id="other"))
    await shop.route()
    assert (await shop.customer()).traits == {"trial": {"ends": "2026-05-20"}}
    assert await wakes(shop) == 1


GOAL = {"event": "Order Completed", "within": "7d", "value": "properties.total"}


async def conversion(shop: Shop) -> tuple[datetime | None, Any]:
    [run] = await shop.runs()
    return run.converted_at, run.conversion


async def test_the_goal_counts_once_with_its_worth_though_the_same_event_ends_the_run(shop: Shop) -> None:
    await enter(shop, goal=GOAL)
    shop.later(days=1)
    await shop.track("Order Completed", {"total": 14.280000000000001, "currency": "EUR"})
    first = await conversion(shop)
    assert first[0] == shop.now
    assert (first[1]["value"], first[1]["currency"]) == (1428, "EUR")
    await shop.track("Order Completed", {"total": 99})
    assert await conversion(shop) == first


async def test_the_goal_counts_while_the_journey_is_paused(shop: Shop) -> None:
    await enter(shop, goal=GOAL)
    await shop.publish(abandoned_cart(enter={"on": {"event": "Product Added"}}, goal=GOAL), DocumentState.PAUSED)
    await shop.track("Order Completed")
    assert (await conversion(shop))[0] == shop.now


async def test_the_goal_counts_after_the_run_has_ended_but_not_after_its_time(shop: Shop) -> None:
    await enter(shop, goal=GOAL, exit=[{"event": "Unsubscribed Here"}])
    await shop.track("Unsubscribed Here")
    shop.later(days=7, seconds=1)
    await shop.track("Order Completed")
    assert await conversion(shop) == (None, None)
    await shop.track("Order Completed", timestamp=shop.now - timedelta(days=1))
    assert (await conversion(shop))[0] == shop.now


async def test_a_browsers_order_ends_the_run_and_is_worth_nothing(shop: Shop) -> None:
    await enter(shop, goal=GOAL)
    await shop.track("Order Completed", {"total": 10}, trusted=False)
    converted_at, told = await conversion(shop)
    assert converted_at is not None
    assert told["value"] is None
    assert [run.state for run in await shop.runs()] == ["exited"]


async def test_what_was_done_elsewhere_ends_the_run_once_we_know_who_it_was(shop: Shop) -> None:
    await enter(shop)
    shop.later(minutes=5)
    await shop.track("Order Completed", anonymous_id="phone")
    assert [run.state for run in await shop.runs()] == ["active"]
    await shop.identify(user_id="u-1", anonymous_id="phone")
    assert [run.state for run in await shop.runs()] == ["exited"]
