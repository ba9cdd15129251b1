"""The command line: every command teaches, keys are shown once, faults are one sentence."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from sqlalchemy import select, text, update
from typer.testing import CliRunner, Result

from database import keys
from database.documents import DocumentRow, DocumentVersion
from database.events import Event, append
from database.session import Database
from domain.events import EventKind, NewEvent
from domain.ids import new_id
from domain.keys import StoredKey, read_id
from perennial.cli import app
from perennial.cli.terminal import load_settings
from perennial.embedded.folder import announced

cli = CliRunner()
COMMANDS = typer.main.get_command(app)


def every_command() -> Iterator[list[str]]:
    def walk(command: object, path: list[str]) -> Iterator[list[str]]:
        yield path
        for name, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, [*path, name])

    yield from walk(COMMANDS, [])


@pytest.fixture
def deployment(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database, and no Temporal: at the default address somebody else's may run, of which doctors know nothing."""
    monkeypatch.setenv("PERENNIAL_DATABASE_URL", database_url)
    monkeypatch.setenv("PERENNIAL_TEMPORAL_ADDRESS", "127.0.0.1:1")


@pytest.mark.parametrize("path", list(every_command()), ids=" ".join)
def test_every_command_teaches(path: list[str]) -> None:
    shown = cli.invoke(app, [*path, "--help"])

    assert shown.exit_code == 0
    is_group = "Commands" in shown.output
    assert is_group or "Example" in shown.output or "list" in path


@pytest.mark.usefixtures("deployment")
def test_key_is_shown_once_and_listed_without_its_secret() -> None:
    made = cli.invoke(app, ["keys", "create", "shop-backend", "--scope", "events:write"]).output.strip()

    listed = cli.invoke(app, ["keys", "list"]).output

    key_id = read_id(made)
    assert key_id is not None
    assert key_id in listed
    assert made not in listed
    assert made.split("_")[2] not in listed


@pytest.mark.usefixtures("deployment")
def test_rotated_key_keeps_its_old_secret_for_the_overlap(database: Database) -> None:
    first = cli.invoke(app, ["keys", "create", "shop-website", "--browser"]).output.strip()
    key_id = read_id(first) or ""

    second = cli.invoke(app, ["keys", "rotate", key_id, "--overlap-hours", "1"]).output.strip()

    stored = asyncio.run(_key(database.url, key_id))
    assert stored.accepts(first, datetime.now(UTC))
    assert stored.accepts(second, datetime.now(UTC))


@pytest.mark.usefixtures("deployment")
def test_keys_that_an_upgrade_would_refuse_are_listed_before_it(database: Database) -> None:
    asyncio.run(_live_journey(database.url, {"journey": "club", "steps": [{"id": "gift", "points": {"award": 5}}]}))
    for name, scopes in {"author": ["journeys:write"], "owner": ["journeys:write", "loyalty:write"]}.items():
        cli.invoke(app, ["keys", "create", name, *(word for scope in scopes for word in ("--scope", scope))])

    told = cli.invoke(app, ["keys", "refused"]).output

    assert "author: lacks loyalty:write for club" in told
    assert "owner" not in told


@pytest.mark.usefixtures("deployment")
def test_unknown_key_is_told_in_one_sentence() -> None:
    refused = cli.invoke(app, ["keys", "revoke", "nosuchkey"])

    assert refused.exit_code == 1
    assert refused.output.strip() == "no key nosuchkey"


@pytest.mark.usefixtures("deployment")
def test_webhook_secret_is_made_once_and_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    first, again = (cli.invoke(app, ["keys", "webhook"]).output.strip() for _ in range(2))
    monkeypatch.setenv("PERENNIAL_WEBHOOK_SECRET", "whsec_of-the-settings")

    assert first == again
    assert first.startswith("whsec_")
    assert cli.invoke(app, ["keys", "webhook"]).output.strip() == "whsec_of-the-settings"


def test_database_that_is_away_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERENNIAL_DATABASE_URL", "postgresql://perennial@127.0.0.1:1/perennial")

    refused = cli.invoke(app, ["keys", "list"])

    assert refused.exit_code == 1
    assert refused.output.startswith("The database cannot be used:")
    assert "Traceback" not in refused.output


def test_setting_that_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERENNIAL_API_PORT", "99999")

    refused = cli.invoke(app, ["keys", "list"])

    assert refused.exit_code == 2
    assert "PERENNIAL_API_PORT: Input should be less than or equal to 65535" in _plain(refused.output)


@pytest.mark.usefixtures("deployment")
def test_quarantined_event_is_listed_with_its_error_and_routed_again(database: Database) -> None:
    event_id = asyncio.run(_quarantined_event(database.url))

    listed = cli.invoke(app, ["quarantine", "list"], env={"COLUMNS": "200"}).output
    retried = cli.invoke(app, ["quarantine", "retry", event_id]).output

    assert event_id in listed
    assert "no such product" in listed
    assert retried.strip() == "1 event is on the way again."
    assert asyncio.run(_status(database.url)) == "pending"


@pytest.mark.usefixtures("deployment")
def test_migrating_twice_is_fine() -> None:
    migrated = cli.invoke(app, ["migrate", "--no-temporal"])

    assert migrated.exit_code == 0
    assert re.match(r"The database is at revision \d{4}\.", migrated.output)


@pytest.mark.usefixtures("deployment")
def test_doctor_says_what_it_checked_and_by_its_exit_code_that_temporal_could_not_be_asked() -> None:
    examined = cli.invoke(app, ["doctor"])

    assert examined.exit_code == 3
    assert "G13" in examined.output
    assert "not looked at: Temporal does not answer" in examined.output
    assert "✗" not in examined.output
    lines = [line for line in examined.output.splitlines() if line[:1] in "✓!"]
    assert len(lines) == len(set(lines))


@pytest.mark.usefixtures("deployment")
def test_doctor_names_a_lock_that_is_in_the_way(database_url: str) -> None:
    async def examine() -> Result:
        database = Database(database_url, pool_size=1)
        async with database.transaction() as session:
            await session.execute(text("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE"))
            examined = await asyncio.to_thread(cli.invoke, app, ["doctor"])
        await database.close()
        return examined

    examined = asyncio.run(examine())

    assert examined.exit_code == 1
    assert "lock" in examined.output
    assert "PERENNIAL_DATABASE_URL" not in examined.output


async def _key(url: str, key_id: str) -> StoredKey:
    database = Database(url, pool_size=1)
    async with database.read() as session:
        found = await keys.find(session, key_id)
    await database.close()
    assert found is not None
    return found


async def _quarantined_event(url: str) -> str:
    database = Database(url, pool_size=1)
    now = datetime.now(UTC)
    event = NewEvent(
        id=new_id(),
        source="shop",
        message_id="m-1",
        kind=EventKind.TRACK,
        name="Product Viewed",
        user_id="ann",
        timestamp=now,
        received_at=now,
        trusted=True,
    )
    async with database.transaction() as session:
        await append(session, [event])
        await session.execute(update(Event).values(status="quarantined", attempts=5, error="no such product"))
    await database.close()
    return str(event.id)


async def _live_journey(url: str, document: dict[str, Any]) -> None:
    database, now = Database(url, pool_size=1), datetime.now(UTC)
    row = {"kind": "journey", "key": document["journey"]}
    async with database.transaction() as session:
        session.add(DocumentRow(**row, draft={}, state="live", live_version=1, etag="", updated_at=now))
        await session.flush()
        session.add(DocumentVersion(**row, version=1, document={"enter": {"on": "api"}, **document}, published_at=now))
    await database.close()


async def _status(url: str) -> str:
    database = Database(url, pool_size=1)
    async with database.read() as session:
        (status,) = await session.scalars(select(Event.status))
    await database.close()
    return status


def _plain(output: str) -> str:
    return " ".join(output.split())


def test_commands_find_the_stack_that_runs_here_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PERENNIAL_DATABASE_URL", raising=False)
    announced_url = "postgresql://perennial:hidden@127.0.0.1:1/perennial"
    with announced(tmp_path, {"database_url": announced_url, "temporal_address": "127.0.0.1:2"}):
        monkeypatch.setenv("PERENNIAL_DATA_DIR", str(tmp_path))
        beside = load_settings()
        monkeypatch.setenv("PERENNIAL_DATABASE_URL", "postgresql://elsewhere:5432/perennial")
        told = load_settings()

    assert beside.database_url.get_secret_value() == announced_url
    assert beside.temporal_address == "127.0.0.1:2"
    assert "hidden" not in repr(beside)
    assert told.database_url.get_secret_value() == "postgresql://elsewhere:5432/perennial"


@pytest.mark.parametrize(
    ("told", "missing"),
    [("PERENNIAL_API_URL", "PERENNIAL_API_KEY"), ("PERENNIAL_API_KEY", "PERENNIAL_API_URL")],
)
def test_half_of_an_api_is_never_replaced_by_the_stack_that_runs_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, missing: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(missing, raising=False)
    monkeypatch.setenv(told, "http://127.0.0.1:1")
    monkeypatch.setenv("PERENNIAL_DATA_DIR", str(tmp_path))
    (tmp_path / "a.yaml").write_text("journey: a\n")
    with announced(tmp_path, {"api": "http://127.0.0.1:2", "admin_key": "sk_here"}):
        pushed = cli.invoke(app, ["journeys", "push", "a.yaml"])

    assert (pushed.exit_code, f"{told} is set without {missing}" in _plain(pushed.output)) == (1, True)
