"""The plan of publishing a journey: what changes, how many runs stand where, and what becomes of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from domain.errors import Conflict, FieldError, Invalid
from domain.journeys.definition import JourneyDefinition
from domain.journeys.flow import Flow
from domain.journeys.identity import as_json, kind_of, nested
from domain.journeys.repeats import likely_done, likely_paid_again
from domain.payload import escape_pointer

Policy = Literal["stay", "move", "finish"]

FINISHED = "finished"
"""The reason of runs that a plan ended."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How many active runs of older versions are at a step (None: not yet at any)."""

    step: str | None
    runs: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What publishing would do. `digest` names the draft and the version it becomes, not the counts, which move on."""

    digest: str
    version: int
    changes: Sequence[Mapping[str, Any]]
    in_flight: Sequence[Mapping[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """As the API answers it."""
        return {
            "plan": self.digest,
            "version": self.version,
            "changes": list(self.changes),
            "in_flight": list(self.in_flight),
        }


def make_plan(
    definition: JourneyDefinition,
    previous: JourneyDefinition | None,
    *,
    version: int,
    standing: Sequence[Standing],
    policy: Mapping[str, Policy],
) -> Plan:
    """The plan for a draft with ids.

    Raises Invalid for a policy about a step that nobody knows, Conflict where it moves runs to a step that is gone.
    """
    movable = movable_steps(definition, previous)
    _refuse_unknown_steps(policy, definition, previous, standing)
    for step, wanted in policy.items():
        if wanted == "move" and step not in movable:
            is_new = previous is None or step not in {each.id for each in previous.walk()}
            which = "version before" if is_new else "new version"
            message = f"Runs at {step} cannot move: the {which} has no step of that id and kind."
            raise Conflict(message, code="cannot_move")
    moving = [at.step for at in standing if at.step in movable]
    repeats = _for_runs_at(moving, likely_done, definition, previous)
    paid_again = _for_runs_at(moving, likely_paid_again, definition, previous)
    in_flight = [
        {
            "step": at.step,
            "runs": at.runs,
            "policy": policy.get(at.step or "", "stay"),
            "can_move": at.step in movable,
            "already_done": repeats.get(at.step or "", []),
            "paid_again": paid_again.get(at.step or "", []),
        }
        for at in standing
    ]
    return Plan(_digest(definition, version), version, _changes(definition, previous), in_flight)


def _refuse_unknown_steps(
    policy: Mapping[str, Policy],
    definition: JourneyDefinition,
    previous: JourneyDefinition | None,
    standing: Sequence[Standing],
) -> None:
    """A mistyped step would leave its runs where they are, and nobody would notice."""
    versions = [definition] if previous is None else [definition, previous]
    known = {step.id for version in versions for step in version.walk()} | {at.step for at in standing}
    if unknown := sorted(policy.keys() - known):
        faults = tuple(
            FieldError(
                f"/policy/{escape_pointer(step)}", "no version of this journey with runs has this step", "unknown_step"
            )
            for step in unknown
        )
        steps = ", ".join(sorted(step for step in known if step is not None))
        raise Invalid(
            f"The policy names unknown steps: {', '.join(unknown)}. The journey's steps are {steps}.",
            code="unknown_step",
            errors=faults,
        )


def _for_runs_at(
    steps: Iterable[str | None],
    asked: Callable[[Flow, Flow, str], list[str]],
    definition: JourneyDefinition,
    previous: JourneyDefinition | None,
) -> dict[str, list[str]]:
    """By the step at which runs stand: the steps that they leave out if moved (`likely_done`), or pay again."""
    if previous is None:
        return {}
    now, before = Flow(definition), Flow(previous)
    return {step: asked(now, before, step) for step in steps if step is not None}


def movable_steps(definition: JourneyDefinition, previous: JourneyDefinition | None) -> frozenset[str]:
    """The steps that runs can stand at in both versions: the same id and the same kind."""
    before = {} if previous is None else {step.id: step.kind for step in previous.walk()}
    return frozenset(step.id for step in definition.walk() if step.id is not None and before.get(step.id) == step.kind)


def _digest(definition: JourneyDefinition, version: int) -> str:
    content = orjson.dumps([as_json(definition), version], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(content).hexdigest()[:32]


def _changes(definition: JourneyDefinition, previous: JourneyDefinition | None) -> list[dict[str, Any]]:
    """Members of the document that differ, then the steps: added, removed, changed or moved to another place."""
    now, before = as_json(definition), {} if previous is None else as_json(previous)
    names = [name for name in {**before, **now} if name != "steps"]
    changes: list[dict[str, Any]] = [
        {"change": _word(name in before, name in now), "member": name}
        for name in names
        if now.get(name) != before.get(name)
    ]
    steps, steps_before = _bare_steps(now), _bare_steps(before)
    for step_id in {**steps_before, **steps}:
        word = _step_word(steps_before.get(step_id), steps.get(step_id))
        if word is not None:
            kind = (steps.get(step_id) or steps_before[step_id])[0]
            changes.append({"change": word, "step": step_id, "kind": kind})
    return changes


def _word(was: bool, is_now: bool) -> str:
    return "changed" if was and is_now else "added" if is_now else "removed"


def _step_word(before: tuple[str, Any, str] | None, now: tuple[str, Any, str] | None) -> str | None:
    if before is None or now is None:
        return _word(before is not None, now is not None)
    if before[:2] != now[:2]:
        return "changed"
    return "moved" if before[2] != now[2] else None


def _bare_steps(document: Mapping[str, Any]) -> dict[str, tuple[str, Any, str]]:
    """Each step's kind, its body without nested steps, and what it comes after, by id."""
    found: dict[str, tuple[str, Any, str]] = {}
    _collect(orjson.loads(orjson.dumps(document.get("steps", []))), "", found)
    return found


def _collect(block: list[dict[str, Any]], parent: str, found: dict[str, tuple[str, Any, str]]) -> None:
    came_before = parent
    for step in block:
        kind, step_id = kind_of(step), step["id"]
        for suffix, inner in nested(step):
            _collect(list(inner), f"{step_id}{suffix}", found)
            inner.clear()
        found[step_id] = (kind, [step[kind], step.get("name")], came_before)
        came_before = step_id
