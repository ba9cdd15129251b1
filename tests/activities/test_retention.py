"""What upkeep forgets, and what it never does."""

from __future__ import annotations

from activities.retention import ForgetInput, RetentionActivities
from database.session import Database
from database.shop_settings import save_shop_settings
from domain.shop_settings import ShopSettings
from tests.triggers.shop import Shop, abandoned_cart


async def test_why_somebody_was_kept_out_is_forgotten_in_time_and_entries_never_are(database: Database) -> None:
    shop = Shop(database)
    async with database.transaction() as session:
        await save_shop_settings(session, ShopSettings(decisions_kept_days=30), shop.now)
    await shop.publish(abandoned_cart())
    for _ in range(6):  # the first enters, the others find the occasion taken
        await shop.track("Product Added", {"cart_id": "c-1"})
    shop.later(days=30)
    await shop.track("Product Added", {"cart_id": "c-1"})
    retention = RetentionActivities(database, page=2)

    early = await retention.forget_decisions(ForgetInput(as_of=shop.now))
    shop.later(seconds=1)
    in_time = await retention.forget_decisions(ForgetInput(as_of=shop.now))

    assert (early, in_time) == (0, 5)
    assert [decision.outcome for decision in await shop.decisions()] == ["entered", "kept_out"]
