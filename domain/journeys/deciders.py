"""What the steps of a version decide by in a simulation, compiled once for all its runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from domain.conditions.memory import HistoryJudge, compile_condition
from domain.journeys.definition import JourneyDefinition
from domain.journeys.exits import exit_reason
from domain.journeys.flow import id_of
from domain.journeys.looks import exit_conditions, looks_at_conditions, next_look, wait_conditions
from domain.journeys.steps import BranchStep, ElseArm, WaitForStep
from domain.journeys.waiting import CompiledWait, compile_wait
from domain.journeys.worth import Worth


@dataclass(frozen=True, slots=True)
class Deciders:
    """Waits and branches by step id.

    `exits`: conditions that end a run; `met`: those that meet a wait, by position; `looks`: how soon to look again.
    """

    waits: Mapping[str, CompiledWait]
    arms: Mapping[str, tuple[HistoryJudge, ...]]
    exits: tuple[tuple[HistoryJudge, str], ...]
    met: Mapping[str, tuple[tuple[int, HistoryJudge], ...]]
    looks: Mapping[str, timedelta | None]
    looks_at_conditions: bool
    gives: bool

    @classmethod
    def of(cls, definition: JourneyDefinition) -> Self:
        """Of a version whose steps all have ids."""
        steps = list(definition.walk())
        return cls(
            waits={id_of(step): compile_wait(step.wait_for) for step in steps if isinstance(step, WaitForStep)},
            arms={id_of(step): _arms(step) for step in steps if isinstance(step, BranchStep)},
            exits=tuple((compile_condition(match.if_), exit_reason(match)) for match in exit_conditions(definition)),
            met={
                id_of(step): tuple((position, compile_condition(one)) for position, one in wait_conditions(step))
                for step in steps
            },
            looks={id_of(step): next_look(definition, step) for step in steps},
            looks_at_conditions=looks_at_conditions(definition),
            gives=Worth().given_by(definition),
        )


def _arms(step: BranchStep) -> tuple[HistoryJudge, ...]:
    return tuple(_always if isinstance(arm, ElseArm) else compile_condition(arm.if_) for arm in step.branch)


def _always(*_: object) -> bool:
    return True
