"""An erased friend who comes back is not brought again: nobody is paid twice for one person."""

from __future__ import annotations

import pytest

from database.session import Database
from domain.errors import Conflict
from tests.referring import ReferringShop, open_referring_shop, rewarded
from tests.triggers.test_erased_stay_away import carry_out
from triggers.erasures import request_erasure


@pytest.fixture
async def shop(database: Database) -> ReferringShop:
    """Ann has brought Bob, both were paid, and Bob was erased with all that was his."""
    shop = await open_referring_shop(database)
    await shop.identify({"email": "bob.lee@gmail.com", "phone": "+49 170 1234567"}, user_id="bob")
    await rewarded(shop)
    async with shop.database.transaction() as session:
        job = await request_erasure(session, (await shop.customer("bob")).id, by="key", as_of=shop.now)
    await carry_out(shop, job)
    shop.later(days=1)
    return shop


@pytest.mark.parametrize(
    ("user_id", "traits"),
    [
        ("bob", {"email": "new@example.com"}),
        ("bert", {"email": "boblee+x@googlemail.com"}),
        ("bert", {"email": "new@example.com", "phone": "0049 (170) 123 4567"}),
    ],
)
async def test_an_erased_friend_who_returns_is_not_brought_again(
    shop: ReferringShop, user_id: str, traits: dict[str, str]
) -> None:
    await shop.identify(traits, user_id=user_id)
    with pytest.raises(Conflict) as refused:
        await shop.claim("ann", user_id)
    assert refused.value.code == "already_referred"


async def test_an_erased_friend_whose_address_is_known_after_the_claim_is_not_paid_for_again(
    shop: ReferringShop,
) -> None:
    await shop.identify(user_id="bert")
    await shop.claim("ann", "bert")
    shop.later(hours=1)
    await shop.order("bert", "o-9")
    await shop.identify({"email": "bob.lee@gmail.com"}, user_id="bert")
    shop.later(days=15)
    assert await shop.end_holds() == 0
    assert (await shop.states())[-1] == "rejected(already_referred)"
    assert await shop.points("ann") == 500


async def test_a_browser_that_names_an_erased_friends_address_keeps_nobody_from_being_brought(
    shop: ReferringShop,
) -> None:
    await shop.identify(user_id="bert")
    await shop.identify({"email": "bob.lee@gmail.com"}, user_id="bert", trusted=False)
    assert (await shop.claim("ann", "bert")).referral.state == "claimed"
