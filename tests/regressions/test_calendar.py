"""Midnights, months that are too short and clocks that change: where other systems were an hour or a day off.

What each system got wrong and where it is told: docs/loyalty/peers.md. The club's time only moves forward, so the cases
come in the order of time.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.regressions.club import Club

PURCHASE = {
    "rule": "purchase",
    "on": {"event": "Order Completed"},
    "amount": {"per": {"amount": 100, "currency": "EUR"}, "of": "properties.subtotal", "points": 1},
}

CASES = [
    # 23:30 on 24 October; the next local day has 25 hours, and ends at 23:00 UTC.
    ("Europe/Berlin", {"after": "1d", "round": "end_of_day"}, "2026-10-24T21:30:00Z", "2026-10-25T23:00:00Z"),
    # 20:00 on 31 October in New York is November by UTC; 1 November has 25 hours there.
    ("America/New_York", {"after": "1d", "round": "end_of_day"}, "2026-11-01T00:00:00Z", "2026-11-02T05:00:00Z"),
    # Half an hour before the New Year of Auckland, where summer time is 13 hours ahead.
    ("Pacific/Auckland", {"on": "12-31"}, "2026-12-31T10:30:00Z", "2026-12-31T11:00:00Z"),
    # Half an hour before the New Year of Kolkata; a month later it is January there until 18:30 UTC.
    ("Asia/Kolkata", {"after": "1mo", "round": "end_of_month"}, "2026-12-31T18:00:00Z", "2027-01-31T18:30:00Z"),
    # 02:30 on 28 February; on 28 March there is no 02:30, and the first moment after it is 03:00 of summer time.
    ("Europe/Berlin", {"after": "1mo"}, "2027-02-28T01:30:00Z", "2027-03-28T01:00:00Z"),
    # 31 January and a month is the last day of February, the 29th in a leap year.
    ("Europe/Berlin", {"after": "1mo"}, "2028-01-31T11:00:00Z", "2028-02-29T11:00:00Z"),
    # 29 February and a year is 28 February.
    ("Europe/Berlin", {"after": "1y"}, "2028-02-29T11:30:00Z", "2029-02-28T11:30:00Z"),
]


@pytest.mark.parametrize(("zone", "expires", "earned", "lapses"), CASES)
async def test_points_lapse_by_the_calendar_of_the_programme_and_not_a_second_earlier(
    club: Club, zone: str, expires: dict[str, Any], earned: str, lapses: str
) -> None:
    """R20: midnight of the server or of UTC instead of the shop's: mitxpro 991, EDD 7492, s2member 612,
    VirtoCommerce 956, woocommerce-ios 6254, RailsEventStore/ecommerce 397, wb-gamification 1.4.0 and 1.6.4.
    """
    end = datetime.fromisoformat(lapses)
    club.shop.now = datetime.fromisoformat(earned) - timedelta(seconds=1)
    await club.programme(PURCHASE, zone=zone, expires=expires)
    ann = await club.member()
    await club.buy(ann, 10)

    [lot] = (await club.points(ann))["lots"]
    club.shop.now = end - timedelta(seconds=1)
    before = await club.available(ann)
    club.shop.now = end

    assert (lot["expires_at"], before, await club.available(ann)) == (lapses, 10, 0)


async def test_a_day_of_25_hours_is_one_day_of_a_limit_and_of_a_challenge(club: Club) -> None:
    """habitica 6103 and 3433 rolled days over twice. On 28 October 2029 the clocks of Berlin go back at three."""
    daily = {"rule": "visit", "on": {"event": "Store Visited"}, "amount": {"points": 5}}
    club.shop.now = datetime.fromisoformat("2029-10-20T12:00:00Z")
    await club.programme({**daily, "limit": {"per_customer": 1, "per": "1d", "over": "reject"}})
    await club.publish(
        *("challenges", "two-days"),
        metric={"streak": "day", "over": ["Store Visited"]},
        levels=[{"level": "two", "at": 2, "points": 50}],
        zone="Europe/Berlin",
    )
    ann = await club.member()

    found = []
    for moment in ("2029-10-27T22:30:00Z", "2029-10-28T22:30:00Z", "2029-10-28T23:30:00Z"):
        club.shop.now = datetime.fromisoformat(moment)
        await club.shop.track("Store Visited", user_id=ann)
        found.append(await club.available(ann))

    # 00:30 and 23:30 of 28 October, which are a day apart, and 00:30 of the 29th
    assert found == [5, 5, 60]


async def test_points_wait_for_the_end_of_a_local_month_whatever_its_length(club: Club) -> None:
    """Pending points of February mature with the first instant of March, in the programme's zone."""
    club.shop.now = datetime.fromisoformat("2030-02-10T12:00:00Z")
    await club.programme({**PURCHASE, "pending": {"period_end": "1mo"}}, zone="Asia/Tokyo")
    ann = await club.member()
    await club.buy(ann, 10)

    club.shop.now = datetime.fromisoformat("2030-02-28T14:59:59Z")
    before = await club.points(ann)
    club.shop.later(seconds=1)
    after = await club.points(ann)

    assert [(each["pending"], each["available"]) for each in (before, after)] == [(10, 0), (0, 10)]


async def test_after_all_of_that_the_doctor_finds_every_promise_kept(club: Club) -> None:
    assert await club.broken_promises() == []
