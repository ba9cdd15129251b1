"""The ways through a journey as a graph: what nobody reaches, loops, how many messages fit in a time."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from domain.durations import parse_duration
from domain.journeys.flow import Flow, id_of
from domain.journeys.steps import (
    BranchStep,
    CallStep,
    ElseArm,
    ExitStep,
    GotoStep,
    SendStep,
    SplitStep,
    Step,
    WaitForStep,
    WaitStep,
)


@dataclass(frozen=True, slots=True)
class Graph:
    """Each step's id with the ids of the steps that may come next."""

    flow: Flow
    following: dict[str, list[str]]

    @classmethod
    def of(cls, flow: Flow) -> Graph:
        """The graph of a flow whose gotos all lead somewhere."""
        return cls(flow, {id_of(step): [id_of(n) for n in _next(flow, step)] for step in flow.definition.walk()})

    def reachable(self) -> set[str]:
        """The steps that some run can reach."""
        return self._from([id_of(self.flow.first)], set())

    def loops_without_wait(self) -> Iterator[GotoStep]:
        """The gotos that lead back to themselves on a way with no wait."""
        waits = {id_of(step) for step in self.flow.definition.walk() if isinstance(step, WaitStep | WaitForStep)}
        for step in self.flow.definition.walk():
            if isinstance(step, GotoStep) and step.id in self._from(_targets(self.flow, step), waits):
                yield step

    def leads_round(self, goto: str, step: str) -> bool:
        """Whether a goto leads back round a loop that the step is in: from the step one comes to the goto again without
        coming through where it leads. (The natural loop of a back edge: an inner loop has no step of the outer one.)
        """
        found = self.flow.step(goto)
        if not isinstance(found, GotoStep) or goto not in self._from(_targets(self.flow, found), ()):
            return False
        return step == found.goto.step or goto in self._from([step], {found.goto.step})

    def comes_to(self, start: str, step: str, *, round_loops: bool = True) -> bool:
        """Whether a run at `start` can come to the step; not `round_loops`: before a loop brings it round again."""
        rounds = () if round_loops else [g for g in self.following if self.leads_round(g, step)]
        return step in self._from(self.following[start], rounds)

    def most_messages(self, within: timedelta, channels: Collection[str], limit: int) -> int:
        """The most messages of these channels that one run can send within a time, counted up to `limit`.

        Dijkstra over (step, messages so far): the least time in which a run can be there with that many. Waits count
        with the least they can take, so this is an upper bound.
        """
        counted = {id_of(step) for step in self.flow.definition.walk() if _is_message(step, channels)}
        repeats = 1 + sum(step.goto.visits for step in self.flow.definition.walk() if isinstance(step, GotoStep))
        limit = min(limit, len(counted) * repeats)
        best: dict[tuple[str, int], float] = {}
        heap = [(0.0, step, 0) for step in sorted(counted)]
        most = 0
        while heap:
            spent, step, sent = heapq.heappop(heap)
            sent += step in counted
            if (step, sent) in best or spent > within.total_seconds() or sent > limit:
                continue
            best[step, sent] = spent
            most = max(most, sent)
            took = spent + _least_seconds(self._step(step))
            for following in self.following[step]:
                heapq.heappush(heap, (took, following, sent))
        return most

    def _step(self, step_id: str) -> Step:
        step = self.flow.step(step_id)
        assert step is not None  # noqa: S101  ids of `following` are of this flow
        return step

    def _from(self, start: Sequence[str], closed: Collection[str]) -> set[str]:
        found: set[str] = set()
        ahead = [step for step in start if step not in closed]
        while ahead:
            step = ahead.pop()
            if step not in found:
                found.add(step)
                ahead += [following for following in self.following[step] if following not in closed]
        return found


def _is_message(step: Step, channels: Collection[str]) -> bool:
    return isinstance(step, SendStep) and step.send.channel in channels


def _least_seconds(step: Step) -> float:
    """The least time that a step takes: a `wait` its duration; a `wait_for` none, unless only its timeout ends it."""
    match step:
        case WaitStep(wait=body) if isinstance(body.for_, str):
            return parse_duration(body.for_).longest().total_seconds()
        case WaitForStep(wait_for=body) if not body.any and body.timeout is not None:
            return parse_duration(body.timeout).longest().total_seconds()
        case _:
            return 0.0


def _targets(flow: Flow, step: GotoStep) -> list[str]:
    target = flow.step(step.goto.step)
    return [] if target is None else [id_of(target)]


def _next(flow: Flow, step: Step) -> list[Step]:
    after = flow.after(step)
    ways: list[Step | None] = [flow.into(step, block) for block in _ways_within(step)]
    if isinstance(step, GotoStep):
        ways.append(flow.step(step.goto.step))
    if _can_pass(step):
        ways.append(after)
    return [way for way in ways if way is not None]


def _ways_within(step: Step) -> list[list[Step]]:
    match step:
        case SendStep(send=body):
            return [told for told in (body.on_skip, body.on_failure) if isinstance(told, list)]
        case CallStep(call=body):
            return [body.on_failure] if isinstance(body.on_failure, list) else []
        case WaitStep(wait=body):
            return [body.on_missing] if isinstance(body.on_missing, list) else []
        case WaitForStep(wait_for=body):
            timeout = [body.on_timeout] if body.timeout is not None else []
            return [*(alternative.steps for alternative in body.any), *timeout]
        case BranchStep(branch=arms):
            return [arm.steps for arm in arms[: _else_position(arms) + 1]]
        case SplitStep(split=body):
            return [variant.steps for variant in body.variants if variant.weight > 0]
        case _:
            return []


def _can_pass(step: Step) -> bool:
    """Whether the flow can go on after a step without going through anything nested in it."""
    match step:
        case ExitStep() | WaitForStep() | SplitStep():
            return False
        case BranchStep(branch=arms):
            return not any(isinstance(arm, ElseArm) for arm in arms)
        case _:
            return True


def _else_position(arms: Sequence[object]) -> int:
    return next((position for position, arm in enumerate(arms) if isinstance(arm, ElseArm)), len(arms))
