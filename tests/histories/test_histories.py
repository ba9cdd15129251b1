"""G8: histories of every released version replay on this code, so no deployment strands a run.

record.py records those of a new version; the old ones are never touched.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from domain.journeys.library import DefinitionLibrary, install
from domain.journeys.steps import STEP_KINDS
from perennial.temporal import DATA_CONVERTER
from workflows.journey import JourneyWorkflow
from workflows.sandbox import sandbox

FOLDER = Path(__file__).parent
SAVED = sorted(FOLDER.glob("v*/*.json"))


@pytest.mark.parametrize("path", SAVED, ids=[f"{path.parent.name}/{path.stem}" for path in SAVED])
async def test_a_saved_history_replays(path: Path) -> None:
    saved = json.loads(path.read_text())
    install(DefinitionLibrary(lambda journey, version: saved["definitions"].get(str(version))))
    history = WorkflowHistory.from_json("saved", saved["history"])
    replayer = Replayer(workflows=[JourneyWorkflow], workflow_runner=sandbox(), data_converter=DATA_CONVERTER)

    result = await replayer.replay_workflow(history, raise_on_replay_failure=False)

    assert result.replay_failure is None


def test_every_kind_of_step_has_a_saved_history_of_the_latest_version() -> None:
    latest = max((path.parent for path in SAVED), key=lambda folder: int(folder.name[1:]))

    assert {path.stem for path in latest.glob("*.json")} >= set(STEP_KINDS)
