"""The embedded PostgreSQL under everything that happens on a developer's machine."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from perennial.embedded.faults import StartFailedError
from perennial.embedded.postgres import EmbeddedPostgres

only_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root is given another account and may mount: sudo make test"
)


@pytest.fixture
def folder() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="perennial-pg-"))
    home.chmod(0o711)
    yield home / "postgres"
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
async def server(folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(folder, durable=False)
    await server.start()
    yield server
    await server.stop()


async def ask(server: EmbeddedPostgres, question: str) -> object:
    connection = await asyncpg.connect(server.url())
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()


async def test_second_start_keeps_the_data(server: EmbeddedPostgres, folder: Path) -> None:
    await ask(server, "CREATE TABLE kept (id int)")
    await server.stop()

    again = EmbeddedPostgres(folder, durable=False)
    await again.start()
    try:
        assert await ask(again, "SELECT count(*) FROM kept") == 0
    finally:
        await again.stop()


async def test_server_left_by_a_killed_run_is_ended_by_the_next(server: EmbeddedPostgres, folder: Path) -> None:
    left_behind = server.child.pid

    next_run = EmbeddedPostgres(folder, durable=False)
    await next_run.start()
    try:
        assert next_run.child.pid != left_behind
        assert server.child.pid is None
        assert await ask(next_run, "SELECT 1") == 1
    finally:
        await next_run.stop()


async def test_lock_of_a_crashed_server_is_no_obstacle(server: EmbeddedPostgres, folder: Path) -> None:
    postmaster = psutil.Process(server.child.pid)
    postmaster.kill()
    while server.child.pid is not None:
        await asyncio.sleep(0.01)

    await server.start()

    assert await ask(server, "SELECT 1") == 1


async def test_stranger_with_the_pid_in_the_lock_is_left_alone(server: EmbeddedPostgres, folder: Path) -> None:
    await server.stop()
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        lock = folder / "data" / "postmaster.pid"
        lock.write_text(f"{stranger.pid}\n{folder / 'data'}\n1700000000\n5432\n\n127.0.0.1\n\nready\n")

        await server.start()

        assert await ask(server, "SELECT 1") == 1
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_first_start_that_was_killed_halfway_leaves_no_broken_cluster(folder: Path) -> None:
    unfinished = folder / "data.unfinished"
    unfinished.mkdir(parents=True)
    folder.chmod(0o711)
    (unfinished / "PG_VERSION").write_text("18\n")
    server = EmbeddedPostgres(folder, durable=False)

    await server.start()

    try:
        assert await ask(server, "SELECT 1") == 1
    finally:
        await server.stop()


async def test_cancelled_start_leaves_no_process(folder: Path) -> None:
    server = EmbeddedPostgres(folder, durable=False)
    starting = asyncio.create_task(server.start())
    await asyncio.sleep(0.15)

    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting

    mentioning = [p.pid for p in psutil.process_iter() if any(str(folder) in part for part in _command_line(p))]
    assert mentioning == []


async def test_commits_are_on_disk_before_they_are_acknowledged(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    await server.start()
    try:
        assert await ask(server, "SHOW fsync") == "on"
        assert await ask(server, "SHOW synchronous_commit") == "on"
        assert await ask(server, "SHOW full_page_writes") == "on"
    finally:
        await server.stop()


@only_root
async def test_full_disk_is_told_in_one_sentence(folder: Path) -> None:
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=False)
    if mounted.returncode != 0:
        pytest.skip("this machine lets nobody mount a small disk: run on one that does")
    folder.chmod(0o711)
    try:
        with pytest.raises(StartFailedError, match="the disk is full; free some space and start again"):
            await EmbeddedPostgres(folder, durable=False).start()
    finally:
        subprocess.run(["umount", folder], check=True)


@only_root
async def test_root_in_a_closed_folder_gets_data_elsewhere_and_no_permission_changes() -> None:
    closed = Path(tempfile.mkdtemp(prefix="perennial-closed-"))
    server = EmbeddedPostgres(closed / ".perennial" / "postgres", durable=False)
    try:
        await server.start()
        assert server.is_moved
        assert not server.folder.is_relative_to(closed)
        assert await ask(server, "SELECT 1") == 1
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        assert psutil.Process(server.child.pid).uids().real != 0
    finally:
        await server.stop()
        shutil.rmtree(closed)
        shutil.rmtree(server.folder)


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
