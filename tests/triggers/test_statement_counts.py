"""Routing takes few statements with everything live: a full shop and a busy customer stay fast."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event

from domain.journeys.definition import JourneyDefinition
from domain.journeys.identity import as_json, with_ids
from domain.yaml import read_yaml
from tests.challenging import TWO_ORDERS, put_live
from tests.triggers.shop import Shop, abandoned_cart

TEMPLATES = Path(__file__).parents[2] / "templates"
THANKS = {
    **abandoned_cart(),
    "journey": "thanks",
    "enter": {"on": {"event": "Order Completed"}, "again": {"while_active": True}},
    "exit": [],
}
CONTEST = {
    "contest": "summer",
    "closes": "2026-07-04",
    "entries": [{"rule": "order", "on": {"event": "Order Completed"}}],
}


@contextmanager
def counted(shop: Shop) -> Iterator[list[str]]:
    """The statements that are executed meanwhile."""
    statements: list[str] = []

    def note(*given: Any) -> None:
        statements.append(given[2])

    engine = shop.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", note)


async def open_everything(shop: Shop) -> None:
    """Publish what ships with the product, a challenge and a contest, and let their compiled forms be warm."""
    for path in sorted((TEMPLATES / "journeys").glob("*.yaml")):
        await put_live(
            shop, "journey", as_json(with_ids(JourneyDefinition.model_validate(read_yaml(path.read_text()))))
        )
    await put_live(shop, "journey", THANKS)
    await put_live(shop, "programme", read_yaml((TEMPLATES / "programmes" / "petals.yaml").read_text()))
    await put_live(shop, "challenge", TWO_ORDERS)
    await put_live(shop, "contest", CONTEST)
    await shop.identify({"email": "ann@example.com"})


def bought(number: int) -> dict[str, Any]:
    """One order as shops send it."""
    line = {"product_id": "p-1", "name": "Rose", "price": 100, "quantity": 1}
    return {"order_id": f"o-{number}", "currency": "EUR", "total": 100, "subtotal": 100, "products": [line]}


async def test_one_event_takes_fewer_than_forty_statements_with_everything_live(shop: Shop) -> None:
    await open_everything(shop)
    await shop.post(shop.event("Page Viewed"))

    with counted(shop) as statements:
        await shop.route()

    assert len(statements) < 40


async def test_one_order_takes_fewer_than_sixty_statements_with_everything_live(shop: Shop) -> None:
    await open_everything(shop)
    await shop.post(shop.event("Order Completed", properties=bought(1)))

    with counted(shop) as statements:
        await shop.route()

    assert len(statements) < 60
    assert {run.journey for run in await shop.runs()} >= {"thanks"}


async def test_what_is_published_is_asked_for_once_in_a_batch(shop: Shop) -> None:
    await open_everything(shop)
    await shop.post(*(shop.event("Order Completed", properties=bought(number)) for number in range(5)))

    with counted(shop) as statements:
        await shop.route(limit=50)

    batches = len([each for each in statements if each.startswith("SAVEPOINT")])
    assert len([each for each in statements if "document_changes" in each]) == batches
    assert not [each for each in statements if "document_versions.document" in each]


async def test_twenty_orders_of_one_customer_take_fewer_than_a_hundred_and_fifty_statements(shop: Shop) -> None:
    await open_everything(shop)
    await shop.post(*(shop.event("Order Completed", properties=bought(number)) for number in range(20)))

    with counted(shop) as statements:
        await shop.route()

    assert len(statements) < 150
    assert len(await shop.runs("thanks")) == 20


async def test_thousands_of_events_of_one_customer_do_not_keep_others_waiting(shop: Shop) -> None:
    await open_everything(shop)
    await shop.post(*(shop.event("Order Completed", properties=bought(number)) for number in range(450)))
    await shop.post(shop.event("Page Viewed", user_id="somebody-else"))

    async with shop.database.transaction() as session:
        await shop.routing.route(session, shop.now, 100)

    assert len(await shop.events_of((await shop.customer("somebody-else")).id)) == 1
