"""Who may take consent back for whom, and what browsers may ask for."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from tests.addressing import Town

VICTIM = "victim@shop.example"


@pytest.mark.parametrize("strange", ["victim@shop.example", " VICTIM@Shop.example "])
async def test_a_browser_cannot_silence_somebody_elses_address(town: Town, strange: str) -> None:
    await town.identify("victim", email=VICTIM)
    await town.consent("victim")
    await town.identify("eve", email="eve@shop.example")
    await town.consent("eve")

    await town.track("eve", "Consent Withdrawn", browser=True, email=strange)

    assert await town.write_to("victim") == (VICTIM, None)
    assert await town.write_to("eve") == (None, "unsubscribed")  # who said it has said it
    (shown,) = await town.ignored("eve")
    assert shown == ["properties.email"]


@pytest.mark.parametrize("who", [{"userId": "eve"}, {"anonymousId": "v-1"}])
async def test_nobody_silences_an_address_by_calling_it_their_own_in_a_browser(town: Town, who: dict[str, str]) -> None:
    await town.identify("victim", email=VICTIM)
    await town.consent("victim")

    await town.post("identify", {**who, "traits": {"email": VICTIM}}, browser=True)
    withdrawal = {"event": "Consent Withdrawn", "properties": {"email": VICTIM, "channel": "all"}}
    await town.post("track", {**who, **withdrawal}, browser=True)
    await town.post("track", {**who, "event": "Consent Withdrawn"}, browser=True)

    assert await town.write_to("victim") == (VICTIM, None)


async def test_a_browser_cannot_silence_somebody_elses_phone(town: Town) -> None:
    await town.identify("victim", phone="+49 151 2345")
    await town.consent("victim", channel="sms")

    await town.identify("eve", browser=True, phone="+491512345")
    await town.track("eve", "Consent Withdrawn", browser=True, channel="sms", phone="+491512345")

    assert await town.consents("victim") == [("subscribed", "api")]


async def test_a_visitor_whom_nobody_knows_silences_no_address(town: Town) -> None:
    await town.identify("victim", email=VICTIM)
    await town.consent("victim")

    withdrawal = {"event": "Consent Withdrawn", "properties": {"email": VICTIM}}
    await town.post("track", {"anonymousId": "v-1", **withdrawal}, browser=True)

    assert await town.write_to("victim") == (VICTIM, None)


async def test_nobody_silences_an_address_that_they_typed_into_the_shops_form_as_a_visitor(town: Town) -> None:
    await town.identify("victim", email=VICTIM)
    await town.consent("victim")

    await town.post("identify", {"anonymousId": "v-1", "traits": {"email": VICTIM}})
    await town.post("track", {"anonymousId": "v-1", "event": "Consent Withdrawn"}, browser=True)
    await town.post("identify", {"anonymousId": "v-1", "userId": "eve"}, browser=True)
    await town.post("track", {"userId": "eve", "event": "Consent Withdrawn"}, browser=True)

    assert await town.write_to("victim") == (VICTIM, None)


async def test_a_withdrawal_in_the_browser_reaches_all_accounts_with_an_address_that_the_server_names(
    town: Town,
) -> None:
    for account in ("work", "home"):
        await town.identify(account, email=VICTIM)
        await town.consent(account)

    await town.track("work", "Consent Withdrawn", browser=True, email=VICTIM)

    assert await town.write_to("work") == (None, "unsubscribed")
    assert await town.write_to("home") == (None, "unsubscribed")
    assert await town.ignored("work") == []


async def test_the_shops_server_takes_back_an_address_whoever_it_names(town: Town) -> None:
    await town.identify("victim", email=VICTIM)
    await town.consent("victim")

    await town.track("desk", "Consent Withdrawn", email=VICTIM)

    assert await town.write_to("victim") == (None, "unsubscribed")


async def test_whoever_is_silenced_by_another_account_with_their_address_sees_it_and_says_yes_from_the_mailbox(
    town: Town,
) -> None:
    await town.identify("victim", email=VICTIM)
    await town.consent("victim")
    await town.identify("eve", email=VICTIM)  # an account of the shop, whose address nobody has verified
    await town.track("eve", "Consent Withdrawn", browser=True)

    assert await town.write_to("victim") == (None, "unsubscribed")
    assert [state for state, _ in await town.consents("victim")] == ["unsubscribed"]

    await town.write_to("victim", "receipts")
    await town.open(town.mails_to(VICTIM)[-1], "u", action="save", subscribed="marketing")
    assert await town.write_to("victim") == (VICTIM, None)
    assert await town.write_to("eve") == (None, "unsubscribed")


@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_whom_a_withdrawal_reaches_does_not_depend_on_the_order_of_arrival(
    town: Town, order: tuple[int, ...]
) -> None:
    await town.identify("victim", email=VICTIM)
    await town.consent("victim")
    start = town.clock.now
    said = [
        ("identify", {"userId": "twin", "traits": {"email": VICTIM}}, False),
        ("track", {"userId": "twin", "event": "Consent Withdrawn", "properties": {"email": VICTIM}}, True),
        ("identify", {"userId": "twin", "traits": {"email": "twin@shop.example"}}, False),
    ]
    town.clock.tick(600)
    for position in order:
        call, body, browser = said[position]
        await town.post(
            call, body | {"timestamp": (start + timedelta(minutes=position + 1)).isoformat()}, browser=browser
        )

    assert await town.write_to("victim") == (None, "unsubscribed")


@pytest.mark.parametrize(
    ("told", "ignored"),
    [
        ({"purpose": "x" * 5_000}, ["properties.purpose"]),
        ({"purpose": {"a": ["b"]}, "channel": "carrier pigeon"}, ["properties.purpose", "properties.channel"]),
        ({"purpose": "transactional"}, ["properties.purpose"]),
        ({"purpose": "all"}, ["properties.purpose"]),
    ],
)
@pytest.mark.parametrize("event", ["Consent Requested", "Consent Granted"])
async def test_a_purpose_that_is_no_name_is_left_out_and_shown(
    town: Town, event: str, told: dict[str, Any], ignored: list[str]
) -> None:
    await town.identify("ann", email=VICTIM)

    await town.track("ann", event, **told)

    assert await town.consents("ann") == []
    assert await town.ignored("ann") == [ignored]


async def test_a_browser_that_asks_for_marketing_again_brings_no_topic_back(town: Town) -> None:
    await town.identify("ann", email=VICTIM)
    await town.consent("ann", purpose="news")
    await town.consent("ann", "unsubscribed")
    assert await town.write_to("ann", "newsletter") == (None, "unsubscribed")

    await town.track("ann", "Consent Requested", browser=True)

    assert await town.write_to("ann", "newsletter") == (None, "unsubscribed")


async def test_thousands_of_purposes_asked_for_by_a_browser_leave_the_preferences_page_usable(town: Town) -> None:
    await town.identify("ann", email=VICTIM)
    await town.consent("ann")
    asked = [
        {"type": "track", "event": "Consent Requested", "userId": "ann", "properties": {"purpose": f"p-{number}"}}
        for number in range(300)
    ]
    await town.post("batch", {"batch": asked}, browser=True)
    await town.write_to("ann")

    page = (await town.open(town.mails_to(VICTIM)[-1], "u", action="save", subscribed="marketing")).text

    assert page.count('name="subscribed"') <= 50
    assert await town.write_to("ann") == (VICTIM, None)
