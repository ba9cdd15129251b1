"""What `make` installs, and when."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_INSTALLS = """#!/bin/sh
mkdir -p "$1" && echo installed >> ../installed
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The makefile with what it reads, and an installation that only notes that it was asked for."""
    checkout = tmp_path / "check out"
    (checkout / ".ci").mkdir(parents=True)
    for name in ("Makefile", "requirements.lock", "requirements-build.lock", "pyproject.toml"):
        shutil.copy(_ROOT / name, checkout)
    (checkout / ".ci" / "make-venv").write_text(_INSTALLS)
    (checkout / ".ci" / "make-venv").chmod(0o755)
    return checkout


def installs(checkout: Path) -> int:
    """How often it has installed, after one more `make install`."""
    subprocess.run(["make", "install"], cwd=checkout, check=True, capture_output=True)
    return (checkout.parent / "installed").read_text().count("installed")


def test_a_second_start_installs_nothing(checkout: Path) -> None:
    assert [installs(checkout), installs(checkout)] == [1, 1]


def test_a_checkout_that_was_moved_installs_anew(checkout: Path) -> None:
    assert installs(checkout) == 1
    (checkout / ".venv" / "of-the-old-place").touch()
    moved = checkout.rename(checkout.with_name("moved"))

    assert [installs(moved), installs(moved)] == [2, 2]
    assert not (moved / ".venv" / "of-the-old-place").exists()
