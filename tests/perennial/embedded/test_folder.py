"""The data folder is held by one run at a time, and its keys are for its owner only."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from perennial.embedded.faults import StartFailedError
from perennial.embedded.folder import announced, held

HOLDER = """
import sys, time
from pathlib import Path
from perennial.embedded.folder import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_second_run_on_one_folder_is_told_who_runs_there(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(StartFailedError, match=rf"already runs on .* \(pid {holder.pid}\)"), held(tmp_path):
            pass
        holder.kill()


def test_killed_run_leaves_the_folder_free(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        holder.kill()

    with held(tmp_path):
        assert (tmp_path / "up.lock").exists()


def test_what_a_killed_run_announced_is_gone_at_the_next_start(tmp_path: Path) -> None:
    (tmp_path / "dev.json").write_text("{}")

    with held(tmp_path):
        assert not (tmp_path / "dev.json").exists()


def test_folder_that_cannot_be_made_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StartFailedError, match="The data folder cannot be used"), held(tmp_path / "file" / "data"):
        pass


def test_addresses_are_there_while_it_runs_for_the_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "dev.json"

    with announced(tmp_path, {"api": "http://127.0.0.1:8080"}):
        assert json.loads(path.read_text()) == {"api": "http://127.0.0.1:8080"}
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    assert not path.exists()
