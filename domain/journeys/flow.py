"""The order of a definition's steps: which comes after which, and where nested steps rejoin."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from domain.journeys.definition import JourneyDefinition, blocks
from domain.journeys.steps import Step


class Flow:
    """One definition whose steps all have ids, indexed for walking."""

    def __init__(self, definition: JourneyDefinition) -> None:
        self.definition = definition
        self._steps: dict[str, Step] = {}
        self._after: dict[str, str | None] = {}
        self._index(definition.steps, rejoin=None)

    @property
    def first(self) -> Step:
        """Where every run begins."""
        return self.definition.steps[0]

    def step(self, step_id: str) -> Step | None:
        """The step of that id."""
        return self._steps.get(step_id)

    def after(self, step: Step) -> Step | None:
        """The step after this one, outside of its own nested steps; None at the end of the journey."""
        following = self._after[id_of(step)]
        return None if following is None else self._steps[following]

    def into(self, step: Step, block: Sequence[Step]) -> Step | None:
        """The first of the steps nested in `step`, or what comes after it when there are none."""
        return block[0] if block else self.after(step)

    def _index(self, block: Sequence[Step], *, rejoin: str | None) -> None:
        for step, following in zip_longest(block, block[1:]):
            after = rejoin if following is None else id_of(following)
            self._steps[id_of(step)] = step
            self._after[id_of(step)] = after
            for nested in blocks(step):
                self._index(nested, rejoin=after)


def id_of(step: Step) -> str:
    """The id of a step of a published version, where every step has one."""
    if step.id is None:
        raise ValueError(f"a {step.kind} step without an id: only drafts have those")
    return step.id
