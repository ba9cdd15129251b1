"""How often one mailbox is asked to confirm: anybody can post a request for consent with anybody's address."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import select

from database.messages import Message
from tests.addressing import Town

VICTIM = "victim.person@gmail.com"
SPELLINGS = [VICTIM, "victimperson@gmail.com", "Victim.Person+news@GoogleMail.com", "v.i.c.t.i.m.person+7@gmail.com"]


async def ask(town: Town, user: str, *, browser: bool = True) -> tuple[str | None, str | None]:
    """Somebody asks for messages, and the shop writes to the mailbox: where it went, or why it did not."""
    await town.track(user, "Consent Requested", browser=browser)
    return await town.send_of(await town.latest_run(user, "confirm"))


def withheld() -> float:
    return REGISTRY.get_sample_value("perennial_opt_in_mails_withheld_total") or 0


@pytest.mark.parametrize("people", [1, 24])
async def test_no_browser_makes_the_shop_write_to_one_mailbox_more_than_three_times_a_day(
    town: Town, people: int
) -> None:
    before = withheld()
    for number in range(24):
        user = f"eve-{number % people}"
        await town.identify(user, email=SPELLINGS[number % 4], browser=True)
        await ask(town, user)

    mails = town.sending.provider.taken
    assert len(mails) == 3
    assert withheld() == before + 21
    async with town.sending.database.read() as session:
        sent = select(Message.created_at).where(Message.state == "accepted").order_by(Message.created_at)
        times = (await session.scalars(sent)).all()
    assert all((after - first).total_seconds() >= 600 for first, after in pairwise(times))
    timeline = (await town.admin("GET", f"/v1/customers/eve-{23 % people}/timeline")).json()["data"]
    held = next(each["detail"] for each in timeline if each["kind"] == "message")
    assert (held["reason"], held["rule"]["at_most"]) == ("opt_in_limit", 3)

    town.clock.tick(24 * 3600)
    assert (await ask(town, "eve-0"))[1] is None  # a day later


async def test_requests_at_the_same_moment_bring_one_mail(town: Town) -> None:
    runs = []
    for number in range(8):
        await town.identify(f"eve-{number}", email=SPELLINGS[number % 4], browser=True)
        await town.track(f"eve-{number}", "Consent Requested", browser=True)
        runs.append(await town.latest_run(f"eve-{number}", "confirm"))
    town.clock.tick(3600)

    await asyncio.gather(*(town.sending.send(run, as_of=town.clock.now) for run in runs))

    assert len(town.sending.provider.taken) == 1


async def test_other_mailboxes_and_other_messages_are_not_held_back(town: Town) -> None:
    for user in ("ann", "bob"):
        await town.identify(user, email=f"{user}@shop.example", browser=True)
        assert await ask(town, user) == (f"{user}@shop.example", None)
        assert await ask(town, user) == (None, "opt_in_limit")

    assert await town.write_to("ann", "receipts") == ("ann@shop.example", None)


async def test_a_message_that_waits_for_its_turn_keeps_its_place(town: Town) -> None:
    await town.identify("ann", email="ann@shop.example", browser=True)
    assert await ask(town, "ann") == ("ann@shop.example", None)
    run = await town.latest_run("ann", "confirm")

    await town.sending.send(run, as_of=town.clock.now)  # the same step again, as after a crash

    assert (await town.sending.message()).state == "accepted"


async def test_whoever_has_confirmed_is_thanked_at_once(town: Town) -> None:
    await town.admin("PUT", "/v1/settings", json={"opt_in_mails": {"apart": "1d"}})
    await town.identify("ann", email="ann@shop.example", browser=True)
    await ask(town, "ann")
    run = await town.latest_run("ann", "confirm")
    assert await town.send_of(run, "thanks") == (None, "opt_in_limit")  # nobody has answered yet
    await town.track("ann", "Consent Requested", browser=True)
    run = await town.latest_run("ann", "confirm")

    await town.open(town.sending.provider.taken[0], "u", action="save", subscribed="marketing")

    assert await town.send_of(run, "thanks") == ("ann@shop.example", None)


async def test_the_shop_may_allow_more_mails_to_one_mailbox(town: Town) -> None:
    limit = {"at_most": 5, "per": "1h", "apart": "1m"}
    saved = await town.admin("PUT", "/v1/settings", json={"opt_in_mails": limit})
    assert saved.json()["opt_in_mails"] == limit
    await town.identify("ann", email="ann@shop.example", browser=True)

    reasons = [(await ask(town, "ann"))[1] for _ in range(6)]

    assert reasons == [None] * 5 + ["opt_in_limit"]
    refused = await town.admin("PUT", "/v1/settings", json={"opt_in_mails": {"at_most": 0}})
    assert refused.status_code == 422


async def test_what_browsers_ask_for_takes_nothing_from_what_the_shop_itself_asks_for(town: Town) -> None:
    asked: list[str | None] = []
    for number in range(9):
        await town.identify(f"eve-{number}", email=SPELLINGS[number % 4], browser=True)
        asked.append((await ask(town, f"eve-{number}"))[1])
    assert asked.count(None) == 3  # used up
    await town.identify("ann", email=VICTIM)

    assert await ask(town, "ann", browser=False) == (VICTIM, None)
    assert await ask(town, "ann", browser=False) == (None, "opt_in_limit")  # an allowance all the same


async def test_no_browser_has_forty_owed_mails_sent_to_a_stranger(town: Town) -> None:
    answers = []
    for number in range(40):
        await town.identify(f"eve-{number}", email=SPELLINGS[number % 4], browser=True)
        answers.append(await town.write_to(f"eve-{number}", "receipts", browser=True))

    assert [reason for _, reason in answers] == [None] * 3 + ["unconfirmed_limit"] * 37
    assert len(town.sending.provider.taken) == 3
    timeline = (await town.admin("GET", "/v1/customers/eve-39/timeline")).json()["data"]
    held = next(each["detail"] for each in timeline if each["kind"] == "message")
    assert (held["reason"], held["rule"]["at_most"]) == ("unconfirmed_limit", 3)


async def test_confirmed_addresses_and_trusted_runs_get_all_that_they_are_owed(town: Town) -> None:
    await town.identify("ann", email="ann@shop.example")
    await town.identify("bob", email="bob@shop.example", browser=True)
    for user, browser in (("ann", True), ("bob", False)):
        for _ in range(5):
            assert (await town.write_to(user, "receipts", browser=browser))[1] is None
    assert await ask(town, "bob") == ("bob@shop.example", None)  # receipts use up nothing of what asks to confirm
