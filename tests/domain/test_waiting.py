"""Waits judged without a database: alternatives before restarts, look-backs, calendar timeouts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

from domain.conditions.memory import Scope
from domain.ids import new_id
from domain.journeys.steps import WaitFor
from domain.journeys.waiting import Happening, Met, Restarted, Standing, Watcher, compile_wait

NOON = datetime(2026, 3, 28, 12, 0, tzinfo=UTC)
ROME = ZoneInfo("Europe/Rome")


def happening(name: str, *, number: int = 1, minutes: float = 0, **properties: Any) -> Happening:
    at = NOON + timedelta(minutes=minutes)
    return Happening(uuid4(), number, False, name, properties, None, at, at)


def watcher(**scope: Any) -> Watcher:
    return Watcher(new_id(), Scope(as_of=NOON, zone=ROME, **scope))


def test_alternatives_come_before_restarts_and_in_order() -> None:
    wait = compile_wait(
        WaitFor.model_validate(
            {
                "any": [{"event": "A", "where": [{"property": "n", "gt": 1}]}, {"event": "A"}],
                "timeout": "1h",
                "restart_on": [{"event": "A"}],
            }
        )
    )
    assert isinstance(met := wait.judge(happening("A", n=5), watcher()), Met)
    assert met.alternative == 0
    assert isinstance(met := wait.judge(happening("A"), watcher()), Met)
    assert met.alternative == 1
    assert wait.judge(happening("B"), watcher()) is None


def test_a_restart_counts_from_when_the_event_came() -> None:
    wait = compile_wait(WaitFor.model_validate({"timeout": "1h", "restart_on": [{"event": "A"}]}))
    assert wait.judge(happening("A", minutes=7), watcher()) == Restarted(NOON + timedelta(minutes=67))


def test_a_look_back_takes_the_first_match_in_routing_order() -> None:
    wait = compile_wait(WaitFor.model_validate({"any": [{"event": "A"}, {"event": "B"}]}))
    events = [happening("A", number=9), happening("B", number=4), happening("C", number=1)]
    met = wait.look_back(events, watcher(), NOON)
    assert isinstance(met, Met)
    assert (met.alternative, met.event.number) == (1, 4)


def test_a_look_back_only_lengthens_the_timeout() -> None:
    wait = compile_wait(WaitFor.model_validate({"timeout": "1h", "restart_on": [{"event": "A"}]}))
    assert wait.look_back([happening("A", minutes=-30)], watcher(), NOON) == Standing(NOON + timedelta(hours=1))
    assert wait.look_back([happening("A", minutes=30)], watcher(), NOON) == Standing(NOON + timedelta(minutes=90))


def test_references_are_read_from_the_run() -> None:
    where = [{"property": "cart_id", "eq": {"entry": "properties.cart_id"}}]
    wait = compile_wait(WaitFor.model_validate({"any": [{"event": "A", "where": where}]}))
    mine = watcher(entry={"properties": {"cart_id": "c-1"}})
    assert wait.judge(happening("A", cart_id="c-2"), mine) is None
    assert isinstance(wait.judge(happening("A", cart_id="c-1"), mine), Met)


def test_a_month_keeps_the_wall_clock_across_a_change_of_clocks() -> None:
    wait = compile_wait(WaitFor.model_validate({"timeout": "1mo"}))
    assert wait.deadline_from(NOON, ROME) == datetime(2026, 4, 28, 11, 0, tzinfo=UTC)


def test_a_wait_names_what_can_matter_to_it() -> None:
    watched = [{"event": "A"}, {"message": "clicked"}, {"trait": "plan"}]
    wait = compile_wait(WaitFor.model_validate({"any": watched, "timeout": "1h", "restart_on": [{"event": "B"}]}))
    assert wait.names == {"A", "B", "Email Link Clicked"}
    assert wait.watches_traits
