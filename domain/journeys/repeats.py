"""What a run has done is not done again because a new version placed it later; a loop brings it round again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domain.journeys.flow import Flow, id_of
from domain.journeys.graph import Graph
from domain.journeys.identity import signature
from domain.journeys.steps import CallStep, EmitStep, PointsStep, RewardStep, SendStep, StartStep, Step, UpdateStep

ACTS: Final = (PointsStep, RewardStep, SendStep, UpdateStep, EmitStep, CallStep, StartStep)
"""Steps that do something which would be too much if it were done twice."""

OF_VALUE: Final = (PointsStep, RewardStep)
"""Steps that give something by themselves."""


@dataclass(frozen=True, slots=True)
class Passed:
    """A step that a run has done, under which version; `stands_for`: it was left out, as that one had been done."""

    step: str
    kind: str
    at: datetime
    version: int
    stands_for: str | None = None


def done_before(step: Step, log: Sequence[Passed], flows: Mapping[int, Flow], version: int) -> str | None:
    """The id under which a moved run has done this step of the present version, and no loop has brought it round since;
    None: it is to be done. `flows` holds every version of the log.

    A step with another id is the same if it does the same, and its old id is gone from the present version.
    """
    former = _former(step, log, flows, version)
    done = [each.at for each in log if each.stands_for is None and each.kind == step.kind and each.step == former]
    if former is None or not done:
        return None
    names = {id_of(step), former}
    rounds = (each for each in log if each.kind == "goto" and each.at > max(done))
    return None if any(_leads_round(each, names, flows[each.version]) for each in rounds) else former


def likely_done(definition: Flow, previous: Flow, standing: str) -> list[str]:
    """Steps that runs standing there may have done in the version before and would come to again in the new one."""
    before, now = Graph.of(previous), Graph.of(definition)
    return [
        id_of(step)
        for step in definition.definition.walk()
        if isinstance(step, ACTS)
        and (former := _same_in(previous, step, definition)) is not None
        and before.comes_to(former, standing)
        and now.comes_to(standing, id_of(step), round_loops=False)
    ]


def likely_paid_again(definition: Flow, previous: Flow, standing: str) -> list[str]:
    """Steps of value that runs standing there would come to in the new version, where one of the same kind that they
    may have done is gone: an edit under another id is another step, and pays once more.
    """
    before, now = Graph.of(previous), Graph.of(definition)
    gone = {
        step.kind
        for step in _gone(previous, definition)
        if isinstance(step, OF_VALUE) and before.comes_to(id_of(step), standing)
    }
    return [
        id_of(step)
        for step in definition.definition.walk()
        if isinstance(step, OF_VALUE)
        and step.kind in gone
        and _same_in(previous, step, definition) is None
        and now.comes_to(standing, id_of(step), round_loops=False)
    ]


def _former(step: Step, log: Sequence[Passed], flows: Mapping[int, Flow], version: int) -> str | None:
    """Under which id of the log the step was done: its own, else that of one that is gone and did the same."""
    own = id_of(step)
    if any(each.step == own and each.kind == step.kind and each.stands_for is None for each in log):
        return own
    taken = {each.stands_for for each in log if each.step != own}
    for each in log:
        if each.kind != step.kind or each.stands_for is not None or each.step in taken:
            continue
        was = flows[each.version].step(each.step)
        if was is not None and flows[version].step(each.step) is None and _does(was) == _does(step):
            return each.step
    return None


def _leads_round(taken: Passed, names: set[str], flow: Flow) -> bool:
    graph = Graph.of(flow)
    return any(graph.leads_round(taken.step, name) for name in names if flow.step(name) is not None)


def _same_in(previous: Flow, step: Step, definition: Flow) -> str | None:
    """The id of the step in the version before, under which it may have another."""
    was = previous.step(id_of(step))
    if was is not None:
        return id_of(step) if was.kind == step.kind else None
    return next((id_of(other) for other in _gone(previous, definition) if _does(other) == _does(step)), None)


def _gone(previous: Flow, definition: Flow) -> Iterator[Step]:
    return (step for step in previous.definition.walk() if definition.step(id_of(step)) is None)


def _does(step: Step) -> bytes:
    return signature(step.model_dump(mode="json", exclude_unset=True, by_alias=True))
