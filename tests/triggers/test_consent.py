"""Consent that events tell of: who may give it, ask for it and take it back."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from database.consent import Consent, current
from tests.triggers.shop import Shop


@pytest.mark.parametrize(
    ("name", "trusted", "state"),
    [
        ("Consent Granted", True, "subscribed"),
        ("Consent Granted", False, None),
        ("Consent Requested", False, "pending"),
        ("Consent Withdrawn", False, "unsubscribed"),
    ],
)
async def test_a_browser_may_ask_and_withdraw_but_only_the_shops_server_grants(
    shop: Shop, name: str, trusted: bool, state: str | None
) -> None:
    await shop.track(name, {"purpose": "marketing", "channel": "email"}, trusted=trusted)

    async with shop.database.read() as session:
        rows = (await session.execute(select(Consent.state, Consent.source))).all()
    assert [tuple(row) for row in rows] == ([] if state is None else [(state, "event")])


async def test_asking_again_suspends_nobody_who_has_said_yes_but_asks_whoever_left(shop: Shop) -> None:
    async def state_after(*names: str) -> str:
        for name in names:
            await shop.track(name, {"purpose": "marketing", "channel": "email"})
        async with shop.database.read() as session:
            customer = await session.scalar(select(Consent.customer_id).limit(1))
            assert customer is not None
            (latest,) = await current(session, customer)
            return latest.state

    assert await state_after("Consent Granted", "Consent Requested") == "subscribed"
    assert await state_after("Consent Withdrawn", "Consent Requested") == "pending"
