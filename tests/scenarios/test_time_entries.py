"""Entries by schedule, by date and by any of several, published over HTTP and brought by the real server's clock.

One minute serves all tests here, the shortest time that a cron expression can name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from tests.scenarios.conftest import Stack, eventually
from tests.scenarios.shoppers import Json, Shopper, is_over, new_key, note, published

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

A_MINUTE = 300
"""Seconds in which a minute begins and what it brings is in the inbox, on a busy machine too."""
ZONE, BEHIND_UTC = "Etc/GMT+5", timedelta(hours=5)


@dataclass(frozen=True)
class Morning:
    """Journeys that the next minute enters customers into, and the customers."""

    by_schedule: str
    by_date: str
    by_any: str
    day: str  # the local date that counts
    gold: Shopper
    silver: Shopper
    jubilarian: Shopper  # known before the journeys were published
    newcomer: Shopper  # known since
    visitor: Shopper


@pytest.fixture(scope="module")
def morning(stack: Stack) -> Iterator[Morning]:
    """What a shop has published before the minute begins."""
    local = datetime.now(UTC) - BEHIND_UTC + timedelta(seconds=120)  # leaves a minute to publish
    plan, day = new_key("gold"), f"{local:%Y-%m-%d}"
    send: list[Json] = [{"send": {"id": "mail", "template": note(stack)}}]
    schedule: Json = {
        "schedule": {"cron": "* * * * *", "zone": "Europe/Rome", "audience": {"trait": "plan", "eq": plan}}
    }
    date: Json = {"date": {"trait": f"since_{plan}", "at": f"{local:%H:%M}", "yearly": True}}
    once: Json = {"after": "1d"}
    long_ago = f"{local.year - 4}-{local:%m-%d}"
    jubilarian = Shopper(stack, timezone=ZONE, **{f"since_{plan}": long_ago})
    gold, silver = Shopper(stack, plan=plan), Shopper(stack, plan="silver", timezone=ZONE)
    known = (gold, silver, jubilarian)
    eventually(lambda: {stack.client.get(shopper.path).status_code for shopper in known}, lambda found: found == {200})
    by_schedule, by_date, by_any = (
        published(stack, send, enter={"on": on, "again": once})
        for on in (schedule, date, {"any": [{"event": "Started"}, date, schedule]})
    )
    newcomer = Shopper(stack, timezone=ZONE, **{f"since_{plan}": long_ago})
    silver.post("identify", userId=silver.id, traits={f"since_{plan}": f"{local + timedelta(days=1):%Y-%m-%d}"})
    yield Morning(by_schedule, by_date, by_any, day, gold, silver, jubilarian, newcomer, Shopper(stack))
    for journey in (by_schedule, by_date, by_any):
        stack.client.post(f"/v1/journeys/{journey}/archive", json={})


def entry(shopper: Shopper, journey: str) -> Json:
    """What brought the customer into the journey, once the mail has left."""
    run = shopper.run(journey, is_over, within=A_MINUTE)
    assert run["state"] == "completed"
    entered: Json = run["entry"]
    return entered


def mails(*shoppers: Shopper) -> list[int]:
    """How many mails each has got, one run of each journey bringing one."""
    return [len(shopper.stack.mailbox.of(shopper.email)) for shopper in shoppers]


def test_a_schedule_brings_its_audience_a_mail_and_nobody_else(morning: Morning) -> None:
    scheduled_for = entry(morning.gold, morning.by_schedule)["properties"]["scheduled_for"]

    assert datetime.fromisoformat(scheduled_for).astimezone(UTC).second < 30
    assert morning.silver.runs(morning.by_schedule) == []


def test_a_date_brings_its_mail_on_the_day_in_the_customers_zone(morning: Morning) -> None:
    for shopper in (morning.jubilarian, morning.newcomer):
        assert entry(shopper, morning.by_date)["properties"] == {"date": morning.day}

    assert morning.silver.runs(morning.by_date) == []


def test_any_of_several_entries_brings_a_customer_in(morning: Morning) -> None:
    morning.visitor.start(morning.by_any)

    assert entry(morning.visitor, morning.by_any)["event"] == f"Started {morning.by_any}"
    assert "scheduled_for" in entry(morning.gold, morning.by_any)["properties"]
    assert entry(morning.newcomer, morning.by_any)["properties"] == {"date": morning.day}


def test_each_entry_brought_one_mail(morning: Morning) -> None:
    assert mails(morning.gold, morning.jubilarian, morning.newcomer, morning.visitor) == [2, 2, 2, 1]
    assert mails(morning.silver) == [0]
