"""G27, identity and traits: what a browser says never changes, merges or takes what trusted sources said or own."""

from __future__ import annotations

from datetime import timedelta

from tests.triggers.shop import Shop


async def test_a_browser_cannot_replace_the_address_that_the_shop_gave(shop: Shop) -> None:
    await shop.identify({"email": "ann@shop.example"}, user_id="ann")
    shop.later(hours=1)
    told = {"email": "thief@evil.example", "size": "M"}
    await shop.identify(told, user_id="ann", anonymous_id="x", trusted=False)
    ann = await shop.customer("ann")
    assert (ann.email, ann.traits) == ("ann@shop.example", {"email": "ann@shop.example", "size": "M"})
    _, refused = await shop.events_of(ann.id)
    assert (refused.ignored_untrusted, refused.changed_traits) == (["email"], {"size": "M"})


async def test_a_trusted_word_counts_whenever_it_comes_and_a_trusted_null_stays(shop: Shop) -> None:
    noon = shop.now
    shop.later(hours=1)
    await shop.identify({"email": "thief@evil.example", "phone": "+49 1"}, trusted=False)
    await shop.identify({"email": "ann@shop.example", "phone": None}, timestamp=noon - timedelta(days=1))
    await shop.identify({"phone": "+49 2"}, trusted=False)
    assert (await shop.customer()).traits == {"email": "ann@shop.example"}
