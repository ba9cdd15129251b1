"""An erasure is no complaint: whom it silences, and how whoever comes back is written to again."""

from __future__ import annotations

from tests.addressing import Town

HOME = "home@shop.example"


async def erase(town: Town, user: str) -> None:
    town.clock.tick()
    assert (await town.admin("DELETE", f"/v1/customers/{user}")).status_code == 202
    town.clock.tick()


async def test_one_of_two_people_who_share_a_mailbox_is_erased_and_the_other_gets_all_mail(town: Town) -> None:
    for user in ("ann", "bob"):
        await town.identify(user, email=HOME)
        await town.consent(user)

    await erase(town, "ann")

    assert await town.write_to("bob") == (HOME, None)
    assert await town.write_to("bob", "receipts") == (HOME, None)


async def test_what_the_erased_one_took_back_for_a_shared_mailbox_stays_taken_back(town: Town) -> None:
    await town.identify("ann", email=HOME)
    await town.identify("bob", email=HOME)
    await town.consent("bob")
    await town.consent("ann", "unsubscribed")
    assert await town.write_to("bob") == (None, "unsubscribed")

    await erase(town, "ann")
    assert await town.write_to("bob") == (None, "unsubscribed")
    assert await town.write_to("bob", "receipts") == (HOME, None)

    await town.consent("bob")  # who reads it says yes again
    assert await town.write_to("bob") == (HOME, None)


async def test_a_stranger_who_names_somebodys_address_and_is_erased_silences_nobody(town: Town) -> None:
    await town.identify("stranger", email=HOME, browser=True)
    await erase(town, "stranger")

    await town.identify("ann", email=HOME)
    await town.consent("ann")
    assert await town.write_to("ann") == (HOME, None)


async def test_orders_of_whoever_comes_back_are_confirmed_by_mail_and_marketing_waits_for_consent(town: Town) -> None:
    await town.identify("ann", email=HOME)
    await town.consent("ann")
    await erase(town, "ann")

    await town.identify("ann", email=HOME)
    assert await town.write_to("ann", "receipts") == (HOME, None)
    assert await town.write_to("ann") == (None, "erased")
    rows = b'{"user_id": "ann-2", "email": "home@shop.example", "consent": {"marketing": "subscribed"}}'
    await town.admin("POST", "/v1/customers/import", content=rows)
    await town.route()
    assert await town.write_to("ann-2") == (None, "erased")  # a list that is imported is no act of hers

    await town.consent("ann")
    assert await town.write_to("ann") == (HOME, None)


async def test_whoever_comes_back_may_say_yes_from_the_mailbox(town: Town) -> None:
    await town.identify("ann", email=HOME)
    await erase(town, "ann")
    await town.identify("ann", email=HOME)
    await town.consent("ann", "pending")
    await town.write_to("ann", "receipts")

    await town.open(town.mails_to(HOME)[0], "u", action="save", subscribed="marketing")

    assert await town.write_to("ann") == (HOME, None)
