"""Whose answer confirms an address for messages of value: thieves have mailboxes too."""

from __future__ import annotations

from datetime import timedelta

import pytest

from perennial.doctor import examine
from tests.addressing import Town

ANN, THIEF = "ann@shop.example", "thief@evil.example"


async def answer(town: Town, user: str, address: str) -> None:
    """A mail that is worth nothing goes there, started by the page, and a person follows its link."""
    assert await town.write_to(user, "receipts", browser=True) == (address, None)
    await town.open(town.mails_to(address)[-1], "c")


async def standing(town: Town, user: str) -> str | None:
    profile: dict[str, str | None] = (await town.admin("GET", f"/v1/customers/{user}")).json()
    return profile["email_standing"]


@pytest.mark.parametrize("known_by", [{"event": "Order Completed"}, {"traits": {"plan": "gold"}}])
async def test_a_thief_who_names_their_own_mailbox_for_a_known_customer_gets_nothing_of_value(
    town: Town, known_by: dict[str, object]
) -> None:
    await town.post("identify" if "traits" in known_by else "track", {"userId": "ann", **known_by})

    await town.identify("ann", email=THIEF, browser=True)
    await answer(town, "ann", THIEF)

    assert await town.write_to("ann", "gifts") == (None, "address_unconfirmed")
    assert await town.write_to("ann", "codes") == (None, "address_unconfirmed")
    await town.identify("ann", email=ANN)  # the shop's server says where ann reads
    assert await town.write_to("ann", "gifts") == (ANN, None)


async def test_whoever_signs_up_in_the_browser_and_is_known_to_the_server_later_confirms_by_a_click(town: Town) -> None:
    await town.identify("ann", email=ANN, browser=True)
    await town.track("ann", "Order Completed")
    assert await town.write_to("ann", "gifts") == (None, "address_unconfirmed")

    await answer(town, "ann", ANN)

    assert await town.write_to("ann", "gifts") == (ANN, None)
    assert await standing(town, "ann") == "answered"


async def test_whom_no_server_knows_may_mend_a_typo_after_the_product_itself_has_recorded_them(town: Town) -> None:
    await town.identify("ann", email="an@shop.example", browser=True)
    await answer(town, "ann", "an@shop.example")

    await town.identify("ann", email=ANN, browser=True)
    await answer(town, "ann", ANN)

    assert await town.write_to("ann", "gifts") == (ANN, None)


async def test_a_double_opt_in_of_a_late_address_brings_news_and_nothing_of_value(town: Town) -> None:
    await town.track("ann", "Order Completed")
    await town.identify("ann", email=THIEF, browser=True)
    await town.track("ann", "Consent Requested", browser=True)
    await town.write_to("ann", "receipts")
    await town.open(town.mails_to(THIEF)[-1], "u", action="save", subscribed="marketing")

    assert await town.write_to("ann") == (THIEF, None)
    assert await town.write_to("ann", "gifts") == (None, "address_unconfirmed")


async def test_a_browser_cannot_date_itself_before_the_server(town: Town) -> None:
    await town.track("ann", "Order Completed")
    long_ago = (town.clock.now - timedelta(days=400)).isoformat()

    await town.post(
        "identify",
        {"userId": "ann", "traits": {"email": THIEF}, "timestamp": long_ago, "sentAt": long_ago},
        browser=True,
    )
    await answer(town, "ann", THIEF)

    assert await town.write_to("ann", "gifts") == (None, "address_unconfirmed")


@pytest.mark.parametrize(("days_ago", "is_late"), [(3, True), (0, False)])
async def test_what_the_server_tells_late_counts_by_when_it_happened(town: Town, days_ago: int, is_late: bool) -> None:
    ordered = (town.clock.now - timedelta(days=days_ago)).isoformat() if days_ago else None
    await town.identify("ann", email=ANN, browser=True)
    await answer(town, "ann", ANN)

    order = {"userId": "ann", "event": "Order Completed"}
    await town.post("track", order | ({"timestamp": ordered} if ordered else {}))

    gift = (None, "address_unconfirmed") if is_late else (ANN, None)
    assert await town.write_to("ann", "gifts") == gift


async def test_a_merge_brings_no_late_address_any_value(town: Town) -> None:
    await town.track("ann", "Order Completed")
    await town.identify("ann", email=THIEF, browser=True)
    await answer(town, "ann", THIEF)
    await town.track("old-ann", "Order Completed")

    for previous, user in (("old-ann", "ann"), ("ann", "new-ann")):
        await town.post("alias", {"userId": user, "previousId": previous})
        assert await town.write_to(user, "gifts") == (None, "address_unconfirmed")


@pytest.mark.parametrize("is_answered_first", [True, False])
async def test_a_confirmed_address_stays_so_when_its_customer_is_merged_with_one_known_before(
    town: Town, is_answered_first: bool
) -> None:
    await town.track("old-ann", "Order Completed")
    await town.identify("ann", email=ANN, browser=True)
    if is_answered_first:
        await answer(town, "ann", ANN)

    await town.post("alias", {"userId": "old-ann", "previousId": "ann"})
    if not is_answered_first:
        await answer(town, "ann", ANN)

    assert await town.write_to("old-ann", "gifts") == (ANN, None)


async def test_what_a_guest_named_is_confirmed_once_the_server_says_who_that_was(town: Town) -> None:
    await town.post("identify", {"anonymousId": "v-1", "traits": {"email": ANN}}, browser=True)

    await town.post("track", {"userId": "ann", "anonymousId": "v-1", "event": "Order Completed"})
    await answer(town, "ann", ANN)

    assert await town.write_to("ann", "gifts") == (ANN, None)


@pytest.mark.parametrize("is_guest_first", [True, False])
async def test_a_thief_who_was_a_guest_before_they_said_to_be_ann_gets_nothing_of_value(
    town: Town, is_guest_first: bool
) -> None:
    guest = {"anonymousId": "v-666", "traits": {"email": THIEF}}
    if is_guest_first:
        await town.post("identify", guest, browser=True)
    await town.track("ann", "Order Completed")
    if not is_guest_first:
        await town.post("identify", guest, browser=True)

    await town.post("identify", {"userId": "ann", "anonymousId": "v-666", "traits": {}}, browser=True)
    await answer(town, "ann", THIEF)

    assert await town.write_to("ann", "gifts") == (None, "address_unconfirmed")


async def test_a_shop_without_a_backend_lets_value_go_to_late_addresses(town: Town) -> None:
    await town.track("ann", "Order Completed")
    await town.identify("ann", email=ANN, browser=True)
    await town.admin("PUT", "/v1/settings", json={"unconfirmed": "all"})

    assert await town.write_to("ann", "gifts") == (ANN, None)


async def test_profile_timeline_and_doctor_say_why_value_was_withheld_and_what_to_do(town: Town) -> None:
    await town.track("ann", "Order Completed")
    await town.identify("ann", email=THIEF, browser=True)
    assert await standing(town, "ann") == "unanswered"
    await answer(town, "ann", THIEF)
    await town.write_to("ann", "gifts")

    profile = (await town.admin("GET", "/v1/customers/ann")).json()
    timeline = (await town.admin("GET", "/v1/customers/ann/timeline")).json()["data"]
    verdicts = await examine(town.sending.database, town.clock.now, email_per_second=100, provider="outbox")

    assert profile["email_standing"] == "named_late"
    assert "Send traits.email from your backend" in profile["email_advice"]
    (withheld,) = [
        each["detail"]
        for each in timeline
        if each["kind"] == "message" and each["detail"]["reason"] == "address_unconfirmed"
    ]
    assert withheld["rule"] == {"address": "named_late", "advice": profile["email_advice"]}
    (notice,) = [each for each in verdicts if "withheld" in each.promise]
    assert notice.is_kept
    assert notice.offenders[0].startswith("ann: 1 withheld")
    await town.identify("ann", email=ANN)
    profile = (await town.admin("GET", "/v1/customers/ann")).json()
    assert (profile["email_standing"], profile["email_advice"]) == ("trusted", None)
