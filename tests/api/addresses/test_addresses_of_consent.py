"""Consent belongs to an address: who may move it to another one, and what reaches addresses that a browser named."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import delete, func, select, update

from activities.messages import SettleInput
from database.consent import Consent
from database.customers import Customer
from database.runs import Run
from tests.addressing import Town
from tests.sending import add_customer

ANN, THIEF, WORK = "ann@shop.example", "thief@evil.example", "ann@work.example"


async def test_a_browser_that_replaces_a_members_address_gets_none_of_their_mail(town: Town) -> None:
    await town.identify("ann", email=ANN)
    await town.consent("ann")

    await town.identify("ann", email=THIEF, browser=True)

    assert await town.write_to("ann") == (ANN, None)
    assert await town.write_to("ann", "gifts") == (ANN, None)
    assert town.mails_to(THIEF) == []


async def test_consent_does_not_follow_to_an_address_that_a_browser_names(town: Town) -> None:
    await town.identify("ann", email=ANN, browser=True)
    await town.consent("ann")
    assert await town.write_to("ann") == (ANN, None)

    await town.identify("ann", email=THIEF, browser=True)
    assert await town.write_to("ann") == (None, "no_consent")
    assert await town.consents("ann") == []

    await town.identify("ann", email=ANN, browser=True)  # going back finds the old grant
    assert await town.write_to("ann") == (ANN, None)


async def test_consent_follows_when_the_shops_server_changes_the_address(town: Town) -> None:
    await town.identify("ann", email=ANN)
    await town.consent("ann")

    await town.identify("ann", email=WORK)

    assert await town.write_to("ann") == (WORK, None)
    assert await town.consents("ann") == [("subscribed", "moved")]


async def test_what_was_taken_back_does_not_follow(town: Town) -> None:
    await town.identify("ann", email=ANN)
    await town.consent("ann")
    await town.consent("ann", "unsubscribed")

    await town.identify("ann", email=WORK)

    assert await town.write_to("ann") == (None, "unsubscribed")


async def test_a_grant_before_any_address_belongs_to_the_first_that_a_server_names(town: Town) -> None:
    await town.track("ann", "Consent Granted")
    await town.identify("ann", email=THIEF, browser=True)
    assert await town.write_to("ann") == (None, "no_consent")

    await town.identify("ann", email=ANN)

    assert await town.write_to("ann") == (ANN, None)


async def test_a_grant_counts_for_the_address_that_it_names(town: Town) -> None:
    await town.identify("ann", email=ANN)
    await town.consent("ann", address=WORK)
    assert await town.write_to("ann") == (None, "no_consent")

    await town.track("ann", "Consent Granted", email="  Ann@SHOP.example ")

    assert await town.write_to("ann") == (ANN, None)


async def test_a_consent_that_is_acknowledged_before_the_address_is_routed_counts_for_it(town: Town) -> None:
    await town.identify("ann", email=ANN)
    await town.post("identify", {"userId": "ann", "traits": {"email": WORK}}, routed=False)

    await town.consent("ann")

    assert await town.write_to("ann") == (WORK, None)


async def test_an_address_is_one_however_its_domain_is_spelt(town: Town) -> None:
    await town.identify("zoe", email="zoe@bücher.example")
    await town.consent("zoe")

    await town.identify("zoe", email="ZOE@xn--bcher-kva.example", browser=False)
    assert await town.consents("zoe") == [("subscribed", "api")]  # the same address: nothing had to move
    assert (await town.write_to("zoe"))[1] is None

    await town.open(town.sending.provider.taken[-1], "u", action="unsubscribe")
    await town.identify("zoe", email="zoe@bücher.example")
    assert await town.write_to("zoe") == (None, "unsubscribed")


async def test_a_double_opt_in_grants_for_its_own_mailbox_although_the_address_has_changed(town: Town) -> None:
    await town.identify("ann", email=ANN, browser=True)
    await town.track("ann", "Consent Requested", browser=True)
    await town.write_to("ann", "receipts")
    (mail,) = town.mails_to(ANN)

    await town.identify("ann", email=THIEF, browser=True)
    await town.open(mail, "u", action="save", subscribed="marketing")

    assert await town.write_to("ann") == (None, "no_consent")
    await town.identify("ann", email=ANN, browser=True)
    assert await town.write_to("ann") == (ANN, None)
    assert await town.consents("ann") == [("subscribed", "double-opt-in")]


async def test_a_strangers_answer_from_their_own_mailbox_is_no_consent_of_the_customer(town: Town) -> None:
    await town.identify("ann", email=THIEF, browser=True)
    await town.track("ann", "Consent Requested", browser=True)
    await town.write_to("ann", "receipts")
    await town.open(town.mails_to(THIEF)[0], "u", action="save", subscribed="marketing")

    await town.identify("ann", email=ANN)

    assert await town.write_to("ann") == (None, "no_consent")
    await town.identify("ann", email=ANN)
    await town.consent("ann")
    assert await town.write_to("ann") == (ANN, None)


async def test_one_reader_of_a_shared_mailbox_takes_it_back_for_all(town: Town) -> None:
    family = "family@shop.example"
    for member in ("mum", "dad"):
        await town.identify(member, email=family)
        await town.consent(member)
    assert await town.write_to("mum") == (family, None)

    await town.open(town.mails_to(family)[-1], "u", action="unsubscribe")
    assert await town.write_to("dad") == (None, "unsubscribed")
    assert await town.consents("dad") == [("unsubscribed", "preferences")]

    await town.consent("dad")  # said again for the mailbox: dad's own, and mum stays off
    assert await town.write_to("dad") == (family, None)
    assert await town.write_to("mum") == (None, "unsubscribed")


async def test_a_merge_that_puts_another_persons_address_first_brings_no_consent_along(town: Town) -> None:
    await town.identify("ann", email=ANN)
    await town.consent("ann")
    await town.identify("bob", email="bob@shop.example")

    await town.post("alias", {"userId": "ann", "previousId": "bob"})

    profile = (await town.admin("GET", "/v1/customers/ann")).json()
    assert profile["email"] == "bob@shop.example"
    assert await town.write_to("ann") == (None, "no_consent")


async def test_after_a_merge_both_peoples_withdrawals_count(town: Town) -> None:
    await town.identify("bob", email="bob@shop.example")
    await town.identify("ann", email=ANN)
    await town.consent("ann")
    await town.consent("bob", "unsubscribed")

    await town.post("alias", {"userId": "ann", "previousId": "bob"})

    assert await town.write_to("ann") == (None, "unsubscribed")


@pytest.mark.parametrize("own", [{"email": "other@shop.example"}, {"name": "Ann"}])
@pytest.mark.parametrize("merged", [True, False])
async def test_a_yes_for_somebody_elses_mailbox_does_not_outweigh_that_persons_no(
    town: Town, own: dict[str, Any], merged: bool
) -> None:
    await town.identify("ann", email=ANN)
    await town.consent("ann", "unsubscribed")
    await town.identify("other", **own)
    if merged:
        await town.track("other", "Consent Granted", purpose="marketing", email=ANN)
        await town.post("alias", {"userId": "ann", "previousId": "other"})
        await town.identify("ann", email=ANN)
    else:
        await town.consent("other", address=ANN)
        await town.identify("other", email=WORK)
        await town.identify("other", email=ANN)

    who = "ann" if merged else "other"
    assert await town.write_to(who) == (None, "unsubscribed")
    await town.identify(who, email=ANN, plan="gold")
    assert await town.write_to(who) == (None, "unsubscribed")  # settled once more
    await town.consent(who)
    assert await town.write_to(who) == (ANN, None)


@pytest.mark.parametrize("unconfirmed", [False, True])
async def test_the_shops_default_counts_for_confirmed_addresses_only(town: Town, unconfirmed: bool) -> None:
    await town.admin("PUT", "/v1/settings", json={"consent_defaults": {"marketing": "subscribed"}})

    await town.identify("ann", email=ANN, browser=unconfirmed)

    assert await town.write_to("ann") == ((None, "no_consent") if unconfirmed else (ANN, None))


@pytest.mark.parametrize("journey", ["gifts", "codes"])
async def test_messages_of_value_wait_for_a_confirmed_address(town: Town, journey: str) -> None:
    await town.identify("ann", email=ANN, browser=True)
    assert await town.write_to("ann", journey) == (None, "address_unconfirmed")
    assert await town.write_to("ann", "receipts") == (ANN, None)

    await town.open(town.mails_to(ANN)[0], "c")  # a person reads the mailbox

    assert await town.write_to("ann", journey) == (ANN, None)
    await town.identify("ann", email=THIEF, browser=True)
    assert await town.write_to("ann", journey) == (None, "address_unconfirmed")


async def test_a_machine_that_follows_links_confirms_nothing(town: Town) -> None:
    await town.identify("ann", email=ANN, browser=True)
    await town.write_to("ann", "receipts")
    link = town.mails_to(ANN)[0]

    await town.http.head("/c/" + link.html.split("/c/")[1].split('"')[0])

    assert await town.write_to("ann", "gifts") == (None, "address_unconfirmed")


async def test_a_shop_without_a_backend_lets_value_go_to_all_addresses(town: Town) -> None:
    await town.identify("ann", email=ANN, browser=True)

    saved = await town.admin("PUT", "/v1/settings", json={"unconfirmed": "all"})

    assert saved.json()["unconfirmed"] == "all"
    assert await town.write_to("ann", "gifts") == (ANN, None)
    assert (await town.admin("PUT", "/v1/settings", json={"unconfirmed": "some"})).status_code == 422


async def test_a_held_message_goes_to_the_address_of_the_hour_at_which_it_leaves(town: Town) -> None:
    await town.admin("PUT", "/v1/settings", json={"quiet_hours": {"from": "00:00", "to": "12:00"}})
    await town.identify("ann", email=ANN)
    await town.consent("ann")
    await town.track("ann", "Start welcome")
    async with town.sending.database.read() as session:
        run = (await session.scalars(select(Run.id))).one()
    await town.sending.send(run, as_of=town.clock.now)
    assert (await town.sending.message()).state == "planned"

    await town.identify("ann", email=WORK)
    town.clock.tick(5 * 3600)
    await town.sending.send(run, as_of=town.clock.now)

    assert [mail.to for mail in town.sending.provider.taken] == [WORK]


async def forget_addresses(town: Town) -> None:
    """As a release before recorded it."""
    async with town.sending.database.transaction() as session:
        await session.execute(delete(Consent).where(Consent.source == "moved"))
        await session.execute(update(Consent).values(address_hash=None, address_given=None, counts=True))


@pytest.mark.parametrize("by_upkeep", [True, False])
async def test_older_consents_get_the_address_of_their_time(town: Town, by_upkeep: bool) -> None:
    await town.identify("ann", email=ANN, browser=True)
    await town.consent("ann")
    await town.identify("ann", email=THIEF, browser=True)
    await town.identify("bob", email="bob@shop.example")
    await town.consent("bob")
    await town.identify("bob", email=WORK)
    await forget_addresses(town)

    if by_upkeep:
        done = await town.sending.activities.settle_messages(SettleInput(as_of=town.clock.now))
        assert done.consents == 2
        assert await town.consents("bob") == [("subscribed", "moved")]

    assert await town.write_to("ann") == (None, "no_consent")
    assert await town.write_to("bob") == (WORK, None)
    async with town.sending.database.read() as session:
        assert await session.scalar(select(func.count()).where(Consent.address_given.is_(None))) == 0


async def test_older_consents_without_events_are_for_an_address_that_a_trusted_source_set(town: Town) -> None:
    async with town.sending.database.transaction() as session:
        await add_customer(session, "ann")  # consent and address, and nothing is left of their events
        untrusted = await add_customer(session, "bob")
        times = {"email": ["2026-06-01T00:00:00.000000+00:00", "m-0", False]}
        await session.execute(update(Customer).where(Customer.id == untrusted).values(trait_times=times))

    assert await town.write_to("ann") == ("ann@example.com", None)
    assert await town.write_to("bob") == (None, "no_consent")


async def test_the_customer_gets_their_consents_without_what_only_the_program_can_read(town: Town) -> None:
    await town.identify("ann", email=ANN, browser=True)
    await town.consent("ann")
    await town.write_to("ann")
    await town.open(town.mails_to(ANN)[0], "c")

    everything = (await town.admin("GET", "/v1/customers/ann/export")).json()

    (consent,) = everything["consents"]
    (answer,) = everything["mailbox_answers"]
    assert (consent["state"], consent["counts"], answer["channel"]) == ("subscribed", True, "email")
    assert "address_hash" not in {**consent, **answer}
