"""Ids of steps: written ones stay, derived ones come from kind and position and outlive edits around them."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from domain.journeys.definition import JourneyDefinition
from domain.journeys.flow import Flow
from domain.journeys.identity import as_json, with_ids


def journey(*steps: Any) -> JourneyDefinition:
    return JourneyDefinition.model_validate({"journey": "jj", "enter": {"on": {"event": "E"}}, "steps": list(steps)})


def ids(definition: JourneyDefinition) -> list[str | None]:
    return [step.id for step in definition.walk()]


A, B, C = {"wait": {"for": "1d"}}, {"send": {"template": "b"}}, {"send": {"template": "c"}}


def test_ids_come_from_kind_and_position() -> None:
    nested = {"branch": [{"if": {"all": []}, "steps": [B]}, {"else": [C]}]}

    assert ids(with_ids(journey(A, nested))) == ["wait-1", "branch-2", "branch-2.1.send-1", "branch-2.2.send-1"]


def test_written_ids_stay_and_derived_ones_keep_out_of_their_way() -> None:
    assert ids(with_ids(journey({**A, "id": "send-2"}, B))) == ["send-2", "send-2-2"]


def test_an_id_that_is_null_says_nothing() -> None:
    assert ids(with_ids(journey({**A, "id": None}, B))) == ["wait-1", "send-2"]


def test_unchanged_steps_keep_their_ids_when_others_come_and_go() -> None:
    first = with_ids(journey(A, B, C))
    second = with_ids(journey({"wait": {"for": "2h"}}, A, C), first)

    assert ids(second)[1:] == ["wait-1", "send-3"]
    assert ids(second)[0] not in ids(first)


def test_a_step_keeps_its_id_when_only_what_is_nested_in_it_changes() -> None:
    first = with_ids(journey(A, {"branch": [{"if": {"all": []}, "steps": [B]}]}))
    second = with_ids(journey({"branch": [{"if": {"all": []}, "steps": [C, B]}]}), first)

    assert ids(second)[0] == "branch-2"
    assert "branch-2.1.send-1" in ids(second)


def test_a_version_with_ids_reads_back_as_itself() -> None:
    once = with_ids(journey(A, {"split": {"variants": {"x": {"steps": [B]}, "y": {}}}}))

    assert with_ids(JourneyDefinition.model_validate(as_json(once))) == once


step = st.sampled_from([A, B, C, {"exit": "done"}, {"emit": {"event": "X"}}])
blocks = st.recursive(
    st.lists(step, min_size=1, max_size=4),
    lambda inner: st.lists(
        st.one_of(step, inner.map(lambda steps: {"branch": [{"if": {"all": []}, "steps": steps}]})),
        min_size=1,
        max_size=4,
    ),
    max_leaves=12,
)


@given(blocks, blocks)
def test_ids_are_always_unique_and_every_edit_keeps_an_unchanged_journey_as_it_was(
    before: list[Any], after: list[Any]
) -> None:
    first = with_ids(journey(*before))
    second = with_ids(journey(*after), first)

    assert len(set(ids(second))) == len(ids(second))
    assert with_ids(journey(*before), first) == first
    Flow(second)


def test_an_unchanged_step_keeps_its_id_wherever_it_is_placed() -> None:
    first = with_ids(journey(A, B, C))
    inside = {"branch": [{"if": {"all": []}, "steps": [A]}]}

    assert ids(with_ids(journey(C, A, B), first)) == ["send-3", "wait-1", "send-2"]
    assert ids(with_ids(journey(C, inside, B), first)) == ["send-3", "branch-2", "wait-1", "send-2"]
