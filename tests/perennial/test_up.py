"""`perennial up` as a person meets it: real processes, started, killed, started again."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import psutil
import pytest

from perennial.loopback import any_free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LISTENERS = ("API", "ROUTER", "WORKER", "POSTGRES", "TEMPORAL", "TEMPORAL_UI")
ADDRESSES = {"api", "console", "inbox", "temporal_ui", "temporal_address", "database_url"}
KEYS = {"admin_key", "write_key", "browser_key"}


class Up:
    """One `perennial up` in a folder."""

    def __init__(self, folder: Path, ports: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.data = folder / ".perennial"
        self.ports = ports or {f"PERENNIAL_{name}_PORT": str(any_free_port()) for name in LISTENERS}
        self.log = folder / "up.log"
        self.started_at, self.born_at = time.monotonic(), time.time()
        self.took: float | None = None  # seconds until it was up
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "perennial", "up"],
                cwd=folder,
                env=os.environ | self.ports | {"COLUMNS": "300"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def addresses(self) -> dict[str, Any]:
        """Wait until it is up."""
        path = self.data / "dev.json"
        until(
            lambda: path.exists() and path.stat().st_mtime > self.born_at,
            lambda: self.process.poll() is None,
            "dev.json",
            self.said,
        )
        self.took = self.took or time.monotonic() - self.started_at
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def said(self) -> str:
        """What it has printed, as one line."""
        return " ".join(self.log.read_text().split())

    def waits_until_said(self, sentence: str) -> None:
        """Wait for a sentence, a regular expression."""
        until(lambda: bool(re.search(sentence, self.said())), lambda: True, sentence, self.said)

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """End it and answer its exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)

    def children(self) -> list[psutil.Process]:
        """Everything it has started."""
        return psutil.Process(self.process.pid).children(recursive=True)


def until(holds: Callable[[], bool], may_hold: Callable[[], bool], what: str, said: Callable[[], str]) -> None:
    give_up_at = time.monotonic() + 200
    while not holds():
        assert may_hold(), f"ended without {what}: {said()}"
        assert time.monotonic() < give_up_at, f"no {what}: {said()}"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def place(server_folder: Path) -> Path:
    place = server_folder / "up"
    place.mkdir(mode=0o711)
    return place


@pytest.fixture(scope="module")
def up(place: Path) -> Iterator[Up]:
    running = Up(place)
    running.addresses()
    yield running
    if running.process.poll() is None:
        running.stop()


def test_everything_answers_at_the_addresses_it_tells(up: Up) -> None:
    told = up.addresses()

    assert set(told) >= ADDRESSES | KEYS
    with httpx.Client(headers={"Authorization": f"Bearer {told['admin_key']}"}, timeout=60) as client:
        until(lambda: client.get(f"{told['api']}/readyz").json()["temporal"] == "ok", lambda: True, "Temporal", up.said)
        assert client.get(told["temporal_ui"], follow_redirects=True).status_code == 200
        assert client.get(told["inbox"]).status_code == 200
        assert client.get(f"{told['api']}/v1/journeys/abandoned-cart").json()["state"] == "live"
        assert "temporal_request" in client.get(f"{told['api']}/metrics").text
    assert asyncio.run(_ask(told["database_url"], "SHOW server_version_num")).startswith("18")  # type: ignore[attr-defined]


@pytest.mark.parametrize("process", ["router", "worker"])
def test_router_and_worker_tell_their_health_and_figures(up: Up, process: str) -> None:
    url = f"http://127.0.0.1:{up.ports[f'PERENNIAL_{process.upper()}_PORT']}"

    assert httpx.get(f"{url}/livez", timeout=60).status_code == 200
    until(lambda: httpx.get(f"{url}/readyz", timeout=60).json()["ready"] is True, lambda: True, "readiness", up.said)
    assert "python_gc_objects_collected_total" in httpx.get(f"{url}/metrics", timeout=60).text


def test_nobody_else_on_the_machine_can_read_what_it_keeps(up: Up) -> None:
    files = [path for path in up.data.rglob("*") if path.is_file()]

    assert {"temporal.db", "temporal.log", "postgres.log", "worker.log", "up.lock", "dev.json"} <= {
        path.name for path in files
    }
    assert [path for path in files if path.stat().st_mode & 0o077] == []


def test_second_one_on_the_same_data_is_refused_with_the_pid_of_the_first(up: Up, place: Path) -> None:
    refused = subprocess.run(
        [sys.executable, "-m", "perennial", "up"],
        cwd=place,
        env=os.environ | {"COLUMNS": "300"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert refused.returncode == 1
    assert f"already runs on {up.data} (pid {up.process.pid})" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_process_that_dies_is_told_of_and_started_again(up: Up) -> None:
    (router,) = [child for child in up.children() if child.cmdline()[-1] == "router"]

    router.kill()

    up.waits_until_said(r"router ended: it was killed by SIGKILL.*Starting it again")
    up.waits_until_said("router runs again")
    url = f"http://127.0.0.1:{up.ports['PERENNIAL_ROUTER_PORT']}/readyz"
    until(lambda: httpx.get(url, timeout=60).status_code == 200, lambda: True, "readiness", up.said)


def test_stop_ends_everything_it_started_and_nothing_else(up: Up) -> None:
    children = up.children()
    with subprocess.Popen(["sleep", "600"]) as stranger:
        assert len(children) >= 5

        assert up.stop() == 0

        assert [child for child in children if child.is_running()] == []
        assert not (up.data / "dev.json").exists()
        assert stranger.poll() is None
        stranger.kill()


def test_second_start_is_quicker_and_keeps_data_and_keys(up: Up, place: Path) -> None:
    kept = json.loads((place / ".perennial" / "keys.json").read_text())
    running = Up(place)
    try:
        told = running.addresses()

        assert {name: told[name] for name in KEYS} == kept
        assert asyncio.run(_ask(told["database_url"], "SELECT count(*) FROM documents")) > 0  # type: ignore[operator]
        assert up.took
        assert running.took
        assert running.took < 2 * up.took + 10  # a machine's moods are larger than what the second start saves
    finally:
        assert running.stop(signal.SIGTERM) == 0


def test_killed_run_is_cleared_away_by_the_next_one(place: Path) -> None:
    killed = Up(place)
    killed.addresses()
    orphans = killed.children()
    killed.stop(signal.SIGKILL)
    assert any(orphan.is_running() for orphan in orphans)

    with socket.create_server(("127.0.0.1", any_free_port())) as busy:
        port = busy.getsockname()[1]
        next_run = Up(place, killed.ports | {"PERENNIAL_API_PORT": str(port)})
        try:
            told = next_run.addresses()

            assert "An earlier run was killed; stopped what it had left" in next_run.said()
            assert [orphan for orphan in orphans if orphan.is_running()] == []
            assert re.search(
                rf"Port {port} is taken by \S+ \(pid {os.getpid()}\); api uses \d+ instead", next_run.said()
            )
            assert httpx.get(f"{told['api']}/livez", timeout=60).status_code == 200
        finally:
            assert next_run.stop() == 0


async def _ask(url: str, question: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()
