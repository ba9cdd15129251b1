"""G27: a receipt reaches its customer, whatever address a browser named before."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.rendering import Renderer
from database.runs import Run
from domain.events import EventKind
from tests import sending
from tests.triggers.shop import Shop

PAID = "Order Paid"


def receipt(**enter: Any) -> dict[str, Any]:
    steps = [{"wait": {"for": "1h"}, "id": "pause"}, {"send": {"template": "hello"}, "id": "mail"}]
    on = {"on": {"event": PAID}, "occasion": "properties.order_id", **enter}
    return {"journey": "receipt", "purpose": "transactional", "enter": on, "steps": steps}


async def pay(shop: Shop, *, browser: bool = False) -> None:
    await shop.track(PAID, {"order_id": "o-1"}, trusted=not browser)


async def only_run(shop: Shop) -> Run:
    [run] = await shop.runs()
    return run


@pytest.mark.parametrize("rule", [{}, {"again": {"at_most": 1}, "occasion": None}], ids=["one order", "once"])
async def test_a_receipt_that_a_browser_had_sent_to_its_own_address_does_not_cost_the_customer_theirs(
    shop: Shop, renderer: Renderer, rule: dict[str, Any]
) -> None:
    await shop.track("Signed Up")
    async with sending.open_shop(shop.database, renderer) as sender:
        await shop.publish(receipt(**rule))
        await shop.identify({"email": "x@evil.example"}, trusted=False)
        await pay(shop, browser=True)
        await sender.send((await only_run(shop)).id, step="mail", as_of=shop.now)
        shop.later(minutes=1)

        told = shop.event(kind=EventKind.IDENTIFY, traits={"email": " Ann@Example.com "})
        await shop.post(told, shop.event(PAID, properties={"order_id": "o-1"}))
        await shop.route()
        await pay(shop)  # told of twice

        [_, run] = await shop.runs()
        await sender.send(run.id, step="mail", as_of=shop.now)
        assert [mail.to for mail in sender.provider.taken] == ["x@evil.example", "Ann@Example.com"]


async def test_an_address_in_other_letters_gets_no_second_receipt(shop: Shop, sender: sending.Shop) -> None:
    await shop.publish(receipt())
    await pay(shop, browser=True)
    await sender.send((await only_run(shop)).id, step="mail", as_of=shop.now)
    await shop.identify({"email": " ANN@example.com"})
    await pay(shop)
    assert len(await shop.runs()) == 1


async def test_an_address_that_a_browser_names_after_the_receipt_brings_it_no_copy(
    shop: Shop, sender: sending.Shop
) -> None:
    await shop.publish(receipt())
    await pay(shop, browser=True)
    await sender.send((await only_run(shop)).id, step="mail", as_of=shop.now)
    await shop.identify({"email": "x@evil.example"}, trusted=False)
    await pay(shop)
    assert len(await shop.runs()) == 1
