"""Ids of steps: written by the marketer, or derived from kind and position and kept stable while the step is unchanged.

Works on the document as JSON, where a step is an object with one key that names its kind.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from typing import Any

import orjson

from domain.journeys.definition import JourneyDefinition
from domain.journeys.steps import LATER_KINDS, STEP_KINDS

RawStep = dict[str, Any]  # a step as JSON
Block = list[RawStep]

LONGEST_ID = 100


def with_ids(definition: JourneyDefinition, previous: JourneyDefinition | None = None) -> JourneyDefinition:
    """The same journey with every step's id written out; unchanged steps keep the ids of the previous version."""
    document = as_json(definition)
    steps: Block = document["steps"]
    for step in _all(steps):
        if step.get("id") is None:  # `id: null` says nothing
            step.pop("id", None)
    taken = {step["id"] for step in _all(steps) if "id" in step}
    if previous is not None:
        before = as_json(previous)["steps"]
        _inherit(steps, before, taken)
        _inherit_elsewhere(steps, before, taken)
    _derive(steps, "", taken)
    return JourneyDefinition.model_validate(document)


def as_json(definition: JourneyDefinition) -> dict[str, Any]:
    """The document as it was written, with ids and names of steps beside their kind."""
    return definition.model_dump(mode="json", exclude_unset=True)


def kind_of(step: Mapping[str, Any]) -> str:
    """The key that names the step's kind."""
    return next(kind for kind in (*STEP_KINDS, *LATER_KINDS) if kind in step)


def nested(step: RawStep) -> Iterator[tuple[str, Block]]:
    """The lists of steps within a step, each with the JSON pointer from the step to it."""
    kind = kind_of(step)
    body = step[kind]
    match kind:
        case "send" | "call" | "wait":
            for key in ("on_skip", "on_failure", "on_missing"):
                if isinstance(body.get(key), list):
                    yield f"/{kind}/{key}", body[key]
        case "wait_for":
            for position, alternative in enumerate(body.get("any", [])):
                yield f"/wait_for/any/{position}/steps", alternative.get("steps", [])
            yield "/wait_for/on_timeout", body.get("on_timeout", [])
        case "branch":
            for position, arm in enumerate(body):
                key = "else" if "else" in arm else "steps"
                yield f"/branch/{position}/{key}", arm.get(key, [])
        case "split":
            for position, variant in enumerate(body["variants"]):
                yield f"/split/variants/{position}/steps", variant.get("steps", [])
        case _:
            pass


def _all(block: Block) -> Iterator[RawStep]:
    for step in block:
        yield step
        for _, inner in nested(step):
            yield from _all(inner)


def _inherit(block: Block, previous: Block, taken: set[str]) -> None:
    """Align two lists of steps by what they do; aligned ones are the same step, and so may be those within them."""
    now, before = [signature(step) for step in block], [signature(step) for step in previous]
    for start, start_before, length in SequenceMatcher(None, now, before, autojunk=False).get_matching_blocks():
        for offset in range(length):
            _inherit_one(block[start + offset], previous[start_before + offset], taken)


def _inherit_elsewhere(steps: Block, previous: Block, taken: set[str]) -> None:
    """A step that does what one did whose id is free is that one, placed elsewhere."""
    free: dict[bytes, list[str]] = {}
    for step in _all(previous):
        if step["id"] not in taken:
            free.setdefault(signature(step), []).append(step["id"])
    for step in _all(steps):
        if "id" not in step and (ids := free.get(signature(step))):
            step["id"] = ids.pop(0)
            taken.add(step["id"])


def _inherit_one(step: RawStep, previous: RawStep, taken: set[str]) -> None:
    if "id" not in step and previous["id"] not in taken:
        step["id"] = previous["id"]
        taken.add(previous["id"])
    for (_, inner), (_, inner_before) in zip(nested(step), nested(previous), strict=False):
        _inherit(inner, inner_before, taken)


def signature(step: RawStep) -> bytes:
    """What the step itself does, without what is nested in it, its id and its name."""
    kind = kind_of(step)
    bare = {kind: copy.deepcopy(step[kind])}
    for _, inner in nested(bare):
        inner.clear()
    return orjson.dumps(bare, option=orjson.OPT_SORT_KEYS)


def _derive(block: Block, prefix: str, taken: set[str]) -> None:
    for position, step in enumerate(block, start=1):
        if "id" not in step:
            step["id"] = _free(f"{prefix}{kind_of(step)}-{position}", taken)
            taken.add(step["id"])
        for number, (_, inner) in enumerate(nested(step), start=1):
            _derive(inner, f"{step['id']}.{number}.", taken)


def _free(wanted: str, taken: set[str]) -> str:
    """`wanted`, cut to what an id may hold, with a number where another step has that id."""
    candidate, number = _cut(wanted, LONGEST_ID), 1
    while candidate in taken:
        number += 1
        suffix = f"-{number}"
        candidate = _cut(wanted, LONGEST_ID - len(suffix)) + suffix
    return candidate


def _cut(wanted: str, length: int) -> str:
    return wanted[-length:].lstrip("./-_")
