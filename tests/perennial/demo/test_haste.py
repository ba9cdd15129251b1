"""Hasty copies: the same journey, with waits of seconds."""

from __future__ import annotations

from perennial.demo.haste import hasty, hasty_programme

CART = {
    "journey": "abandoned-cart",
    "name": "Abandoned cart",
    "purpose": "marketing",
    "enter": {"on": {"event": "Product Added"}, "again": {"after": "7d", "at_most": 3, "per": "90d"}},
    "exit": [{"event": "Order Completed"}],
    "steps": [
        {"wait_for": {"id": "quiet", "timeout": "1h", "restart_on": [{"event": "Product Added"}]}},
        {"send": {"template": "cart-reminder"}},
        {"wait": {"id": "patience", "for": "1d", "until": "10:00", "zone": "customer", "days": ["mon"]}},
        {"branch": [{"if": {"trait": "vip", "eq": True}, "steps": [{"wait": {"for": "2d"}}]}, {"else": []}]},
    ],
}


def test_a_hasty_copy_has_a_key_of_its_own_and_waits_of_seconds() -> None:
    copy = hasty(CART)

    assert copy["journey"] == "abandoned-cart-demo"
    assert copy["steps"][0]["wait_for"]["timeout"] == "9s"
    assert copy["steps"][0]["wait_for"]["restart_on"] == [{"event": "Product Added"}]
    assert copy["steps"][2] == {"wait": {"id": "patience", "for": "30s"}}
    assert copy["steps"][3]["branch"][0]["steps"] == [{"wait": {"for": "30s"}}]


def test_a_hasty_copy_lets_people_in_again_soon() -> None:
    assert hasty(CART)["enter"]["again"] == {"after": "2m"}


def test_a_journey_that_follows_each_friend_apart_still_does() -> None:
    enter = {"on": {"event": "Referral Claimed"}, "again": {"while_active": True}}

    assert hasty(CART | {"enter": enter})["enter"] == enter


def test_a_hasty_programme_holds_points_and_referrals_for_seconds_and_lets_the_past_earn() -> None:
    programme = {
        "programme": "petals",
        "earn": [{"rule": "purchase", "pending": "14d"}, {"rule": "review"}],
        "referral": {"hold": "14d", "referrer": {"points": 500}},
    }

    copy = hasty_programme(programme)

    assert copy["programme"] == "petals-demo"
    assert copy["earn"] == [
        {"rule": "purchase", "pending": "12s", "imports": True},
        {"rule": "review", "imports": True},
    ]
    assert copy["referral"] == {"hold": "12s", "referrer": {"points": 500}}


def test_the_original_stays_as_it_is() -> None:
    hasty(CART)

    assert CART["journey"] == "abandoned-cart"
    assert CART["steps"][0]["wait_for"]["timeout"] == "1h"  # type: ignore[index]  # a literal document
