"""The interpreter against fake effects: where it goes, how it stands, and that it can be taken up anywhere."""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.journeys.definition import JourneyDefinition
from domain.journeys.flow import Flow, id_of
from domain.journeys.identity import with_ids
from domain.journeys.interpreter import Interpreter
from domain.journeys.steps import BranchStep, CallStep, SendStep, SplitStep, Step, WaitForStep
from domain.runs import HOLDOUT, Ending, OutcomeKind, Position, RunState, StepOutcome

DONE = StepOutcome(kind=OutcomeKind.DONE)
LATER = StepOutcome(kind=OutcomeKind.LATER, at=datetime(2026, 5, 4, tzinfo=UTC))
HELD = StepOutcome(kind=OutcomeKind.HELD)


def flow_of(*steps: Any) -> Flow:
    document = {"journey": "jj", "enter": {"on": {"event": "E"}}, "steps": list(steps)}
    return Flow(with_ids(JourneyDefinition.model_validate(document)))


@dataclass
class Fake:
    """Effects that answer from a script, and remember what they were asked."""

    answers: dict[str, list[StepOutcome]] = field(default_factory=dict)
    asked: list[tuple[str, int]] = field(default_factory=list)
    stood: list[StepOutcome] = field(default_factory=list)
    passed: list[tuple[str, int, str | None]] = field(default_factory=list)
    positions: list[Position] = field(default_factory=list)

    async def perform(self, step: Step, visit: int) -> StepOutcome:
        self.asked.append((id_of(step), visit))
        script = self.answers.get(id_of(step), [])
        return script.pop(0) if script else DONE

    async def stand(self, step: Step, outcome: StepOutcome) -> None:
        self.stood.append(outcome)

    async def arrive(self, position: Position) -> None:
        self.positions.append(position)

    def note(self, step: Step, visit: int, outcome: StepOutcome) -> None:
        self.passed.append((id_of(step), visit, outcome.reason))


def walk(flow: Flow, effects: Fake, position: Position | None = None) -> Ending:
    return asyncio.run(Interpreter(lambda _: flow, 1, effects, position).walk())


def send(name: str, **rest: Any) -> dict[str, Any]:
    return {"send": {"template": "t", **rest}, "id": name}


def skipped(reason: str) -> StepOutcome:
    return StepOutcome(kind=OutcomeKind.SKIPPED, reason=reason)


def test_a_journey_is_walked_in_the_order_it_is_written() -> None:
    fake = Fake()

    ending = walk(flow_of(send("a"), send("b")), fake)

    assert ending == Ending(state=RunState.COMPLETED)
    assert fake.asked == [("a", 1), ("b", 1)]


def test_a_step_is_asked_again_after_it_stood_or_was_held() -> None:
    fake = Fake({"a": [LATER, HELD, DONE]})

    walk(flow_of(send("a"), send("b")), fake)

    assert fake.asked == [("a", 1), ("a", 1), ("a", 1), ("b", 1)]
    assert fake.stood == [LATER, HELD]


def test_a_run_that_is_over_in_the_database_ends_without_writing_it_again() -> None:
    fake = Fake({"a": [StepOutcome(kind=OutcomeKind.EXITED, reason="exit: Order Completed")]})

    ending = walk(flow_of(send("a"), send("b")), fake)

    assert ending == Ending(state=RunState.EXITED, reason="exit: Order Completed", recorded=True)
    assert fake.asked == [("a", 1)]


@pytest.mark.parametrize(
    ("told", "reason", "asked"),
    [
        ({}, "date_missing", ["w"]),
        ({"on_missing": "exit"}, "date_missing", ["w"]),
        ({"on_missing": "skip"}, None, ["w", "after"]),
        ({"on_missing": [send("ask")]}, None, ["w", "ask", "after"]),
    ],
)
def test_a_missing_date_ends_the_run_unless_the_wait_says_what_follows(
    told: dict[str, Any], reason: str | None, asked: list[str]
) -> None:
    fake = Fake({"w": [skipped("date_missing")]})

    ending = walk(flow_of({"wait": {"until_date": {"trait": "d"}, **told}, "id": "w"}, send("after")), fake)

    assert (ending.reason, [step for step, _ in fake.asked]) == (reason, asked)


def test_a_date_that_was_missed_under_an_earlier_release_still_goes_on() -> None:
    fake = Fake({"w": [skipped("trait_missing")]})

    walk(flow_of({"wait": {"until_date": {"trait": "d"}}, "id": "w"}, send("after")), fake)

    assert [step for step, _ in fake.asked] == ["w", "after"]


def test_arms_rejoin_after_the_branch() -> None:
    arms = [{"if": {"all": []}, "steps": [send("gold")]}, {"else": [send("plain")]}]
    fake = Fake({"b": [StepOutcome(kind=OutcomeKind.DONE, arm="1")]})

    walk(flow_of({"branch": arms, "id": "b"}, send("after")), fake)

    assert [step for step, _ in fake.asked] == ["b", "plain", "after"]


@pytest.mark.parametrize("arm", [None, "7"])
def test_a_branch_without_a_matching_arm_goes_on(arm: str | None) -> None:
    fake = Fake({"b": [StepOutcome(kind=OutcomeKind.DONE, arm=arm)]})

    walk(flow_of({"branch": [{"if": {"all": []}, "steps": [send("x")]}], "id": "b"}, send("after")), fake)

    assert [step for step, _ in fake.asked] == ["b", "after"]


def test_nested_steps_rejoin_from_any_depth() -> None:
    inner = {"split": {"variants": {"a": {"steps": [send("deep")]}}}, "id": "s"}
    outer = {"wait_for": {"any": [{"event": "E", "steps": [inner]}], "timeout": "1d"}, "id": "w"}
    fake = Fake(
        {"w": [StepOutcome(kind=OutcomeKind.DONE, arm="0")], "s": [StepOutcome(kind=OutcomeKind.DONE, arm="a")]}
    )

    walk(flow_of(outer, send("after")), fake)

    assert [step for step, _ in fake.asked] == ["w", "s", "deep", "after"]


@pytest.mark.parametrize(
    ("body", "outcome", "expected"),
    [
        ({}, skipped("cap"), ["a", "after"]),
        ({"on_skip": "exit"}, skipped("cap"), ["a"]),
        ({"on_skip": [send("n")]}, skipped("cap"), ["a", "n", "after"]),
        ({"on_skip": "exit"}, skipped(HOLDOUT), ["a", "after"]),
        ({"on_failure": [send("n")]}, StepOutcome(kind=OutcomeKind.FAILED, reason="x"), ["a", "n", "after"]),
        ({"on_failure": "exit"}, StepOutcome(kind=OutcomeKind.FAILED, reason="x"), ["a"]),
        ({"on_failure": "exit"}, skipped("cap"), ["a", "after"]),
    ],
)
def test_what_a_skipped_or_failed_message_does(body: Any, outcome: StepOutcome, expected: list[str]) -> None:
    fake = Fake({"a": [outcome]})

    walk(flow_of(send("a", **body), send("after")), fake)

    assert [step for step, _ in fake.asked] == expected


def test_a_goto_past_its_visits_goes_on_with_the_step_after_it() -> None:
    fake = Fake()

    walk(flow_of(send("a"), {"goto": {"step": "a", "visits": 2}, "id": "g"}, send("b")), fake)

    assert fake.asked == [("a", 1), ("a", 2), ("a", 3), ("b", 1)]
    assert fake.passed == [("g", 1, None), ("g", 2, None), ("g", 3, "visits_used_up")]


def test_an_exit_ends_the_run_with_its_reason() -> None:
    ending = walk(flow_of({"exit": "done", "id": "e"}, send("never")), Fake())

    assert ending == Ending(state=RunState.EXITED, reason="done", step="e")


def test_a_moved_run_goes_on_in_the_new_version() -> None:
    old, new = (
        flow_of({"wait": {"for": "1d"}, "id": "w"}, send("old")),
        flow_of({"wait": {"for": "2d"}, "id": "w"}, send("new")),
    )
    fake = Fake({"w": [LATER, StepOutcome(kind=OutcomeKind.DONE, version=2)]})

    asyncio.run(Interpreter(lambda version: {1: old, 2: new}[version], 1, fake).walk())

    assert [step for step, _ in fake.asked] == ["w", "w", "new"]


# Random journeys, random outcomes ------------------------------------------------------------------------


class Chaos(Fake):
    """Answers any outcome a step can have, the same for the same step, visit and seed."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    async def perform(self, step: Step, visit: int) -> StepOutcome:
        self.asked.append((id_of(step), visit))
        dice = zlib.crc32(f"{self.seed}/{step.id}/{visit}".encode())
        match step:
            case SendStep() | CallStep():
                return [DONE, skipped("cap"), StepOutcome(kind=OutcomeKind.FAILED, reason="no")][dice % 3]
            case BranchStep(branch=arms):
                return StepOutcome(
                    kind=OutcomeKind.DONE, arm=[None, *map(str, range(len(arms)))][dice % (len(arms) + 1)]
                )
            case WaitForStep(wait_for=body):
                return StepOutcome(
                    kind=OutcomeKind.DONE, arm=[None, *map(str, range(len(body.any)))][dice % (len(body.any) + 1)]
                )
            case SplitStep(split=body):
                return StepOutcome(kind=OutcomeKind.DONE, arm=body.variants[dice % len(body.variants)].variant)
            case _:
                return DONE


def _nest(inner: st.SearchStrategy[list[Any]]) -> st.SearchStrategy[list[Any]]:
    containers = st.one_of(
        inner.map(lambda steps: {"send": {"template": "t", "on_skip": steps}}),
        inner.map(lambda steps: {"wait": {"until_date": {"trait": "d"}, "on_missing": steps}}),
        inner.map(lambda steps: {"branch": [{"if": {"all": []}, "steps": steps}, {"else": steps}]}),
        inner.map(lambda steps: {"split": {"variants": {"a": {"steps": steps}, "b": {}}}}),
        inner.map(lambda steps: {"wait_for": {"any": [{"event": "E", "steps": steps}], "timeout": "1d"}}),
        st.just({"exit": "done"}),
    )
    return st.lists(containers, min_size=1, max_size=3)


journeys = st.recursive(
    st.lists(st.sampled_from([{"wait": {"for": "1d"}}, {"send": {"template": "t"}}]), min_size=1, max_size=3),
    _nest,
    max_leaves=10,
)


@given(journeys, st.integers(0, 3), st.integers(0, 1_000))
def test_a_walk_taken_up_at_any_position_goes_on_as_if_it_had_never_stopped(
    steps: list[Any], visits: int, seed: int
) -> None:
    loop = [{"wait": {"for": "1d"}, "id": "start"}, *steps, {"goto": {"step": "start", "visits": visits + 1}}]
    flow, whole = flow_of(*loop), Chaos(seed)
    ending = walk(flow, whole)

    for position in whole.positions:
        rest = Chaos(seed)
        assert walk(flow, rest, Position.model_validate_json(position.model_dump_json())) == ending
        assert rest.asked == whole.asked[len(whole.asked) - len(rest.asked) :]
        assert len(rest.positions) == len(whole.positions) - whole.positions.index(position)
