"""What later words of an order make of what it earned: by the last of them, within the room, in any order (G31)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.conditions.memory import Scope
from domain.earned_amounts import sale_of
from domain.earned_edits import Terms, amended
from domain.identities import Stamp
from domain.order_statements import Edit, Statement, edited
from domain.programmes.rules import EarnRule

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
OWN = Statement(Stamp(NOON, NOON, UUID(int=0)), {"order_id": "a", "subtotal": 100, "currency": "EUR"})
SCOPE = Scope(as_of=NOON, zone=ZoneInfo("UTC"), customer={}, entry={})


def edit(number: int, hours: float, subtotal: float | str) -> Edit:
    at = NOON + timedelta(hours=hours)
    return Edit(Statement(Stamp(at, at, UUID(int=number)), {"order_id": "a", "subtotal": subtotal}), at)


def terms(room: int | None = None, factor: int = 1, over: str = "clip") -> Terms:
    amount = {"per": {"amount": 100, "currency": "EUR"}, "of": "properties.subtotal"}
    limit = None if room is None else {"per_customer": 1_000, "over": over}
    rule = {"rule": "purchase", "on": {"event": "Order Completed"}, "amount": amount, "limit": limit}
    return Terms(EarnRule.model_validate(rule), Fraction(factor), room)


@pytest.mark.parametrize(
    ("told", "first", "later", "over"),
    [
        ([edit(1, 23, 50)], 50, [], []),
        ([edit(1, 25, 50)], 100, [50], []),
        ([edit(1, 30, 50), edit(2, 23, 80)], 80, [50], []),
        ([edit(1, 30 * 24 - 1, 70), edit(2, 31 * 24, 50)], 100, [70], [50]),
        ([edit(1, -1, 50)], 100, [], []),
    ],
    ids=["within a day", "after it", "both", "after the window", "dated before the order, which is the later word"],
)
def test_a_word_within_a_day_makes_the_order_and_a_later_one_changes_it_until_the_window_closes(
    told: list[Edit], first: float, later: list[float], over: list[float]
) -> None:
    stands = edited(OWN, NOON, told, NOON + timedelta(days=30))
    assert stands.first["subtotal"] == first
    assert [properties["subtotal"] for _, properties in stands.later] == later
    assert [each.said.properties["subtotal"] for each in stands.over] == over


@pytest.mark.parametrize(
    ("agreed", "subtotal", "points", "reason"),
    [
        (terms(factor=2), 50, 100, None),
        (terms(room=120, factor=2), 100, 120, "clipped"),
        (terms(room=120, factor=2, over="reject"), 100, 0, "limit_reached"),
        (terms(), 0, 0, "edited"),
        (terms(), "ten", 0, "edited"),
    ],
)
def test_a_later_word_pays_by_the_factors_and_the_room_that_the_order_had(
    agreed: Terms, subtotal: float | str, points: int, reason: str | None
) -> None:
    sale = sale_of({**OWN.properties, "subtotal": subtotal}, "EUR")
    after = amended(agreed, 100, [(NOON, sale)], SCOPE)
    assert (after.points, after.reason) == (points, reason)


@given(
    told=st.lists(st.tuples(st.integers(-50, 800), st.integers(0, 300)), max_size=6, unique_by=lambda each: each[0]),
    room=st.none() | st.integers(0, 200),
    data=st.data(),
)
def test_words_in_any_order_come_to_the_last_one_and_each_change_is_told(
    told: list[tuple[int, int]], room: int | None, data: st.DataObject
) -> None:
    edits = [edit(number, hours, subtotal) for number, (hours, subtotal) in enumerate(told, 1)]
    until = NOON + timedelta(days=30)
    stands = edited(OWN, NOON, edits, until)
    assert edited(OWN, NOON, data.draw(st.permutations(edits)), until) == stands
    if not stands.later:
        return
    first, _ = terms(room).paid(int(stands.first["subtotal"]))
    sales = [(at, sale_of(properties, "EUR")) for at, properties in stands.later]
    after = amended(terms(room), first, sales, SCOPE)
    last = stands.later[-1][1]["subtotal"]
    assert after.points == (last if room is None else min(last, room))
    assert first + sum(change.by for change in after.changes) == after.points
