"""Records the histories of a released version: `pytest tests/histories/record.py --record-histories 2`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.histories.cases import CASES, Case
from tests.workflows.conftest import Stage
from tests.workflows.journeys import journey


@pytest.mark.parametrize("name", CASES)
async def test_record(name: str, stage: Stage, request: pytest.FixtureRequest) -> None:
    version = request.config.getoption("--record-histories")
    assert version, "say of which version: --record-histories VERSION"
    path = Path(__file__).parent / f"v{version}" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(await _record(stage, CASES[name]), indent=1) + "\n")


async def _record(stage: Stage, case: Case) -> dict[str, Any]:
    stage.outbox.answers = {step: list(answers) for step, answers in (case.answers or {}).items()}
    await stage.publish(journey(*case.steps), state=case.state)
    run = await stage.enter("welcome")
    await case.drive(stage, run)
    history = await run.handle.fetch_history()
    return {"definitions": await stage.definitions("welcome"), "history": _without_names(history.to_json_dict())}


def _without_names(value: Any) -> Any:  # any JSON
    """Histories name the processes that made them, which is nobody's business."""
    match value:
        case dict():
            return {key: "worker" if key == "identity" else _without_names(inner) for key, inner in value.items()}
        case list():
            return [_without_names(inner) for inner in value]
        case _:
            return value
