"""Which steps read the customer, and so must see all that was stored about them before the step was reached."""

from __future__ import annotations

from typing import Any

from domain.journeys.steps import BranchStep, CallStep, EmitStep, PointsStep, StartStep, Step, UpdateStep, WaitStep


def reads_customer(step: Step) -> bool:
    """Whether what the step does depends on the profile. `send` and `wait_for` look for themselves, later."""
    match step:
        case BranchStep() | PointsStep():  # what was earned a moment ago can be taken
            return True
        case WaitStep(wait=body):
            return body.trait is not None
        case UpdateStep(update=body):
            return _mentions_customer(body.traits)
        case EmitStep(emit=body):
            return _mentions_customer(body.properties)
        case StartStep(start=body):
            return _mentions_customer(body.properties)
        case CallStep(call=body):
            return _mentions_customer([body.url, body.headers, body.body])
        case _:
            return False


def _mentions_customer(value: Any) -> bool:  # any JSON
    match value:
        case str():
            return "{" in value and "customer" in value
        case dict():
            return any(_mentions_customer(member) for member in value.values())
        case list():
            return any(_mentions_customer(member) for member in value)
        case _:
            return False
