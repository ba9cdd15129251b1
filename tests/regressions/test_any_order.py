"""Whatever order the same events come in, points, decisions and tier end the same (invariant 12)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.ids import new_id
from tests.regressions.club import Club

AMOUNTS = (10, 33, 60, 80)
PER_EURO = {"per": {"amount": 100, "currency": "EUR"}, "of": "properties.subtotal", "points": 1}


@dataclass(frozen=True)
class Told:
    """Something a shop tells, so many minutes after the day began, about one of four orders."""

    name: str
    minute: int
    order: int

    def properties(self, prefix: str) -> dict[str, Any]:
        """As shops send them; orders are told apart by the prefix."""
        about = {"order_id": f"{prefix}/{self.order}", "currency": "EUR"}
        amount = AMOUNTS[self.order]
        match self.name:
            case "Order Completed":
                return {**about, "subtotal": amount, "total": amount}
            case "Order Updated":
                changed = AMOUNTS[self.minute % len(AMOUNTS)]
                return {**about, "subtotal": changed, "total": changed}
            case "Order Refunded":
                return {**about, "total": amount / 2}
            case _:
                return about


TOLD = st.builds(
    Told,
    name=st.sampled_from(
        ["Order Completed", "Order Completed", "Order Updated", "Order Refunded", "Order Cancelled", "Product Reviewed"]
    ),
    minute=st.integers(0, 1_000),
    order=st.integers(0, 3),
)
DAYS = st.lists(TOLD, min_size=4, max_size=10, unique_by=lambda told: told.minute)


@pytest.fixture(autouse=True, scope="module")
async def programme(club: Club) -> None:
    """A limit that clips, one that rejects, a tier that doubles, and points that lapse."""
    await club.programme(
        {"rule": "purchase", "on": {"event": "Order Completed"}, "amount": PER_EURO, "limit": _PER_DAY},
        {"rule": "review", "on": {"event": "Product Reviewed"}, "amount": {"points": 5}, "limit": _TWICE},
        expires={"after": "30d", "round": "end_of_month"},
        tiers={
            "measure": {"points": "earned", "window": {"rolling": "12mo"}},
            "levels": [{"tier": "bronze", "from": 0}, {"tier": "silver", "from": 60, "multiply": 2}],
        },
    )
    club.shop.later(days=2)


_PER_DAY = {"per_customer": 150, "per": "1d"}
_TWICE = {"per_customer": 2, "per": "1d", "over": "reject"}


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(day=DAYS, data=st.data())
async def test_a_day_that_is_told_in_any_order_ends_the_same(club: Club, day: list[Told], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(day))
    cut = data.draw(st.integers(1, len(day)))
    in_order = sorted(day, key=lambda told: told.minute)

    straight = await _story(club, [in_order])
    mixed = await _story(club, [shuffled[:cut], shuffled[cut:]])

    assert mixed == straight


async def test_an_order_that_is_told_of_again_as_of_earlier_lifts_what_came_in_between(club: Club) -> None:
    told, again, other = (Told("Order Completed", minute, order) for minute, order in ((822, 3), (195, 3), (372, 1)))

    at_once = await _story(club, [[told, again, other]])
    one_later = await _story(club, [[told, again], [other]])

    assert one_later == at_once
    assert at_once["figures"]["available"] == 80 + 2 * 33


async def _story(club: Club, batches: Sequence[Sequence[Told]]) -> dict[str, Any]:
    """What a new member has after the batches came in, one after the other."""
    member, prefix = await club.member(), new_id().hex
    begun = club.shop.now - timedelta(hours=20)
    for batch in batches:
        await club.shop.post(
            *(
                club.shop.event(
                    told.name,
                    user_id=member,
                    message_id=f"{prefix}/{told.minute}",
                    timestamp=begun + timedelta(minutes=told.minute),
                    properties=told.properties(prefix),
                )
                for told in batch
            )
        )
        assert (await club.shop.route()).failed == 0
    points = await club.points(member)
    decided = (await club.get(f"customers/{member}/earnings"))["data"]
    tier = await club.get(f"customers/{member}/tier")
    return {
        "figures": {name: points[name] for name in ("available", "pending", "spent", "expired")},
        "lapsing": _lapsing(points["lots"]),
        "decided": sorted((each["rule"], each["points"], each["wanted"], str(each["reason"])) for each in decided),
        "tier": (tier["tier"], [(each["tier"], each["from"], each["reason"]) for each in tier["history"]]),
    }


def _lapsing(lots: Sequence[dict[str, Any]]) -> Counter[str]:
    """How many points lapse when, in however many credits they came."""
    lapsing: Counter[str] = Counter()
    for lot in lots:
        lapsing[lot["expires_at"]] += lot["remaining"]
    return +lapsing


async def test_after_all_of_that_the_doctor_finds_every_promise_kept(club: Club) -> None:
    assert await club.broken_promises() == []
