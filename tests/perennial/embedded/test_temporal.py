"""The embedded Temporal server keeps its workflows and is found again after a killed run."""

from __future__ import annotations

import stat
from pathlib import Path

from temporalio.client import Client

from perennial.embedded.temporal import EmbeddedTemporal
from perennial.temporal import connect


async def start_a_workflow(client: Client, workflow_id: str) -> None:
    await client.start_workflow("abandoned-cart", id=workflow_id, task_queue="journeys")


async def test_workflows_outlive_a_stop_and_a_killed_run(tmp_path: Path) -> None:
    first = EmbeddedTemporal(tmp_path)
    await first.start()
    await start_a_workflow(await connect(first.address, "default"), "kept")
    left_behind = first.child.pid

    next_run = EmbeddedTemporal(tmp_path)
    await next_run.start()
    try:
        client = await connect(next_run.address, "default")
        assert (await client.get_workflow_handle("kept").describe()).workflow_type == "abandoned-cart"
        assert first.child.pid is None
        assert next_run.child.pid != left_behind
    finally:
        await next_run.stop()


async def test_others_cannot_read_its_files_even_where_an_earlier_release_let_them(
    tmp_path: Path,
) -> None:
    (tmp_path / "temporal.log").touch(mode=0o644)
    server = EmbeddedTemporal(tmp_path)
    await server.start()
    try:
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    finally:
        await server.stop()

    assert {"temporal.db", "temporal.log", "temporal.previous.log"} <= modes.keys()
    assert set(modes.values()) == {0o600}


async def test_history_is_written_ahead_which_is_several_times_faster(tmp_path: Path) -> None:
    server = EmbeddedTemporal(tmp_path)
    await server.start()
    try:
        assert (tmp_path / "temporal.db-wal").exists()
    finally:
        await server.stop()


async def test_runs_are_found_by_what_ops_filter_by(temporal_client: Client) -> None:
    known = {"CustomerId", "Journey", "JourneyVersion", "RunState", "Step"}

    listed = [run async for run in temporal_client.list_workflows(" OR ".join(f"{name} IS NOT NULL" for name in known))]

    assert listed == []  # an unregistered attribute would be an error, not an empty list
