"""The plan of publishing: what changes, who is in flight, and what may become of them."""

from __future__ import annotations

from typing import Any

import pytest

from domain.errors import Conflict, Invalid
from domain.journeys.definition import JourneyDefinition
from domain.journeys.identity import with_ids
from domain.journeys.plan import Policy, Standing, make_plan

WAIT = {"wait": {"for": "1d"}, "id": "pause"}
SEND = {"send": {"template": "t"}, "id": "hello"}


def journey(*steps: Any, **members: Any) -> JourneyDefinition:
    document = {"journey": "jj", "enter": {"on": {"event": "E"}}, "steps": list(steps)}
    return with_ids(JourneyDefinition.model_validate(document | members))


def changes(before: JourneyDefinition, after: JourneyDefinition) -> list[Any]:
    return list(make_plan(after, before, version=2, standing=[], policy={}).changes)


def test_the_difference_names_added_removed_changed_and_moved_steps() -> None:
    before = journey(WAIT, SEND, {"exit": "done", "id": "end"})
    after = journey(SEND, {"wait": {"for": "2d"}, "id": "pause"}, {"update": {"traits": {"a": 1}}, "id": "mark"})

    assert {(change["step"], change["change"]) for change in changes(before, after)} == {
        ("pause", "changed"),
        ("hello", "moved"),
        ("mark", "added"),
        ("end", "removed"),
    }


def test_the_difference_names_changed_members_of_the_document() -> None:
    assert changes(journey(WAIT, name="A"), journey(WAIT, name="B", goal={"event": "X"})) == [
        {"change": "changed", "member": "name"},
        {"change": "added", "member": "goal"},
    ]


def test_runs_stay_unless_the_policy_says_otherwise() -> None:
    policy: dict[str, Policy] = {"pause": "move"}
    standing = [Standing("pause", 3), Standing("hello", 1), Standing(None, 2)]
    plan = make_plan(journey(WAIT), journey(WAIT, SEND), version=2, standing=standing, policy=policy)

    assert [(at["step"], at["runs"], at["policy"]) for at in plan.in_flight] == [
        ("pause", 3, "move"),
        ("hello", 1, "stay"),
        (None, 2, "stay"),
    ]


@pytest.mark.parametrize("after", [journey(SEND), journey({"send": {"template": "t"}, "id": "pause"})])
def test_runs_move_only_to_a_step_of_the_same_id_and_kind(after: JourneyDefinition) -> None:
    with pytest.raises(Conflict) as refusal:
        make_plan(after, journey(WAIT), version=2, standing=[], policy={"pause": "move"})

    assert refusal.value.code == "cannot_move"


@pytest.mark.parametrize(("step", "which"), [("hello", "version before"), ("pause", "new version")])
def test_the_refusal_of_a_move_says_which_version_lacks_the_step(step: str, which: str) -> None:
    with pytest.raises(Conflict, match=f"the {which} has no step of that id and kind"):
        make_plan(journey(SEND), journey(WAIT), version=2, standing=[], policy={step: "move"})


def test_the_digest_names_the_draft_and_not_how_many_runs_there_are() -> None:
    def digest(definition: JourneyDefinition, runs: int) -> str:
        return make_plan(definition, None, version=2, standing=[Standing("pause", runs)], policy={}).digest

    assert digest(journey(WAIT), 1) == digest(journey(WAIT), 5)
    assert digest(journey(WAIT), 1) != digest(journey(SEND), 1)


GIFT = {"points": {"award": 10}, "id": "gift"}
RENAMED = {"points": {"award": 10}, "id": "welcome-gift"}
ROUND = {"goto": {"step": "gift"}, "id": "again"}


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ([GIFT, SEND, WAIT], [WAIT, GIFT, SEND], ["gift", "hello"]),  # reordered
        ([GIFT, WAIT], [WAIT, RENAMED], ["welcome-gift"]),
        ([GIFT, WAIT], [WAIT, {"points": {"award": 20}, "id": "gift"}], ["gift"]),
        ([GIFT, WAIT], [WAIT, {"points": {"award": 20}, "id": "more"}], []),  # another gift
        ([GIFT, WAIT, ROUND], [GIFT, WAIT, SEND, ROUND], []),  # the loop brings it round, as it did
        ([GIFT, WAIT, ROUND], [WAIT, GIFT, {"goto": {"step": "pause"}, "id": "again"}], ["gift"]),
        ([WAIT, GIFT], [WAIT, SEND, GIFT], []),  # they have yet to come to it
    ],
)
def test_the_plan_names_steps_that_moved_runs_leave_out_as_they_have_done_them(
    before: list[Any], after: list[Any], named: list[str]
) -> None:
    plan = make_plan(journey(*after), journey(*before), version=2, standing=[Standing("pause", 3)], policy={})

    assert plan.in_flight[0]["already_done"] == named


MORE = {"points": {"award": 20}}


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ([{"points": {"award": 10}}, WAIT], [WAIT, MORE], ["points-2"]),  # nobody wrote an id
        ([GIFT, WAIT], [WAIT, {**MORE, "id": "more"}], ["more"]),
        ([GIFT, WAIT], [WAIT, {**MORE, "id": "gift"}], []),  # the same step, and left out
        ([GIFT, WAIT], [WAIT, RENAMED], []),
        ([GIFT, WAIT], [GIFT, WAIT, {**MORE, "id": "more"}], []),  # one that was added beside it
        ([WAIT, GIFT], [WAIT, {**MORE, "id": "more"}], []),  # nobody who stands there has the old one
        ([GIFT, WAIT], [{**MORE, "id": "more"}, WAIT], []),  # nobody who stands there comes to it
    ],
)
def test_the_plan_names_steps_of_value_that_moved_runs_would_be_paid_by_again(
    before: list[Any], after: list[Any], named: list[str]
) -> None:
    plan = make_plan(journey(*after), journey(*before), version=2, standing=[Standing("pause", 3)], policy={})

    assert plan.in_flight[0]["paid_again"] == named


def test_a_policy_about_a_step_that_nobody_knows_is_refused_by_name() -> None:
    with pytest.raises(Invalid) as refusal:
        make_plan(
            journey(WAIT, SEND), journey(WAIT), version=2, standing=[Standing("old", 1)], policy={"pasue": "finish"}
        )

    assert refusal.value.code == "unknown_step"
    assert [fault.pointer for fault in refusal.value.errors] == ["/policy/pasue"]
    assert "hello, old, pause" in refusal.value.detail


def test_a_policy_may_name_steps_of_the_draft_of_the_live_version_and_those_at_which_runs_of_older_ones_stand() -> None:
    policy: dict[str, Policy] = {"hello": "stay", "pause": "finish", "old": "finish"}

    plan = make_plan(journey(SEND), journey(WAIT), version=3, standing=[Standing("old", 1)], policy=policy)

    assert [(at["step"], at["policy"]) for at in plan.in_flight] == [("old", "finish")]
