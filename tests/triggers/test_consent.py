"""Consent that events tell of: who may give it, ask for it and take it back."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import permutations

import pytest
from sqlalchemy import select

from database.consent import Consent, current
from database.secrets import PSEUDONYMS, known_secret
from domain.events import EventKind
from domain.pseudonyms import address_pseudonym
from tests.triggers.shop import NOON, Shop


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


@pytest.mark.parametrize(
    ("told", "left"),
    [
        ({"purpose": "Marketing", "channel": "Email "}, ("marketing", "email")),
        ({"purpose": "", "channel": None}, ("marketing", "email")),
        ({"purpose": "all"}, ("marketing", "email")),
        ({"purpose": ["marketing"], "channel": ["email"]}, ("marketing", "all")),
        ({"purpose": "tea & cake", "channel": 7}, ("marketing", "all")),
        ({"purpose": "News", "channel": "sms"}, ("news", "sms")),
    ],
)
async def test_whoever_says_no_untidily_has_said_no(shop: Shop, told: dict[str, object], left: tuple[str, str]) -> None:
    await shop.track("Consent Withdrawn", told)

    async with shop.database.read() as session:
        rows = (await session.execute(select(Consent.purpose, Consent.channel, Consent.state))).all()
    assert [tuple(row) for row in rows] == [(*left, "unsubscribed")]


async def test_a_yes_that_cannot_be_read_permits_nothing(shop: Shop) -> None:
    await shop.track("Consent Granted", {"purpose": ["marketing"]})
    await shop.track("Consent Granted", {"purpose": " Marketing"})

    async with shop.database.read() as session:
        rows = (await session.execute(select(Consent.purpose, Consent.channel))).all()
    assert [tuple(row) for row in rows] == [("marketing", "email")]


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


@pytest.mark.parametrize("order", list(permutations(range(4)))[::3])
async def test_consent_ends_the_same_in_whatever_order_events_come_in(shop: Shop, order: tuple[int, ...]) -> None:
    def at(minutes: int) -> datetime:
        return NOON + timedelta(minutes=minutes)

    told = [
        shop.event(kind=EventKind.IDENTIFY, traits={"email": "old@shop.example"}, timestamp=at(1)),
        shop.event("Consent Granted", timestamp=at(2)),
        shop.event(kind=EventKind.IDENTIFY, traits={"email": "thief@evil.example"}, timestamp=at(3), trusted=False),
        shop.event(kind=EventKind.IDENTIFY, traits={"email": "new@shop.example"}, timestamp=at(4)),
    ]
    shop.now = at(10)
    for position in order:
        await shop.post(told[position])
        await shop.route()

    async with shop.database.read() as session:
        rows = (await session.execute(select(Consent.source, Consent.counts).order_by(Consent.source))).all()
        key = await known_secret(session, PSEUDONYMS) or b""
        hashes = set(await session.scalars(select(Consent.address_hash)))
    assert [tuple(row) for row in rows] == [("event", False), ("moved", True)]
    assert hashes == {address_pseudonym(key, "email", f"{each}@shop.example") for each in ("old", "new")}
