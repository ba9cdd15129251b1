"""After an upgrade each trait takes the trust of the event that wrote it, whatever the size of the shop."""

from __future__ import annotations

from uuid import UUID

import pytest
from sqlalchemy import text, update

from database import trait_trust
from database.customers import Customer, trusted_profile
from database.session import Database
from database.trait_trust import Backfill, mark_untrusted_traits, presumed_addresses
from tests.triggers.shop import Shop


async def as_before_trust_was_kept(database: Database) -> None:
    """What the earlier release stored: time and message id."""
    async with database.transaction() as session:
        await session.execute(
            text("""
                UPDATE customers SET observed = (
                    SELECT coalesce(jsonb_object_agg(key, jsonb_build_array(value -> 0, value -> 1, 'm')), '{}')
                    FROM jsonb_each(observed)
                ), trait_times = (
                    SELECT coalesce(jsonb_object_agg(key, jsonb_build_array(value -> 0, events.message_id)), '{}')
                    FROM jsonb_each(trait_times) JOIN events ON events.id::text = value ->> 2
                )
            """)
        )
        await session.execute(update(Backfill).values(after=None, done_at=None))


@pytest.fixture
def shop(database: Database) -> Shop:
    """A shop whose events a router takes in."""
    return Shop(database)


async def test_old_traits_take_the_trust_of_the_event_that_wrote_them(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trait_trust, "CUSTOMERS_AT_ONCE", 2)
    for user in ("ann", "bob", "cy", "dora", "emil"):
        await shop.identify({"email": f"{user}@shop.example"}, user_id=user)
        await shop.identify({"plan": "gold"}, user_id=user, trusted=False, context={"timezone": "Europe/Rome"})
    await as_before_trust_was_kept(shop.database)

    for _ in range(2):  # the second time there is nothing left to do
        await mark_untrusted_traits(shop.database, shop.now)

    for user in ("ann", "emil"):
        customer = await shop.customer(user)
        assert trusted_profile(customer).traits == {"email": f"{user}@shop.example"}
        assert customer.traits == {"email": f"{user}@shop.example", "plan": "gold"}
    await shop.identify({"plan": "basic"}, user_id="ann", trusted=False, context={"timezone": "Asia/Tokyo"})
    assert ((await shop.customer("ann")).traits["plan"], (await shop.customer("ann")).zone) == ("basic", "Asia/Tokyo")


async def test_the_doctor_lists_addresses_whose_source_nobody_knows(shop: Shop) -> None:
    await shop.identify({"email": "ann@shop.example", "phone": "+49 1"}, user_id="ann")
    await as_before_trust_was_kept(shop.database)
    await set_by_nobody(shop.database, (await shop.customer("ann")).id)

    async with shop.database.read() as session:
        assert await presumed_addresses(session, 5) == ["ann: email"]


async def set_by_nobody(database: Database, customer_id: UUID) -> None:
    """As if the event that set the address were gone."""
    async with database.transaction() as session:
        moved = {"email": ["2020-01-01T00:00:00.000000+00:00", "gone"]}
        customer = await session.get_one(Customer, customer_id)
        customer.trait_times = {**customer.trait_times, **moved}
