"""`perennial journeys push` and `pull` against a running API: every kind of document, each with what it needs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from typer.testing import CliRunner, Result

from perennial.cli import app
from tests.api.conftest import ApiServer

LAYOUT = {"template": "layout", "subject": "-", "mjml": "<mjml><mj-body><!-- content --></mj-body></mjml>"}
HELLO = {"template": "hello", "subject": "Hello", "mjml": "<mj-section></mj-section>"}
GIFT = {"reward": "gift", "gives": {"gift": "tea"}}
SECOND = {"journey": "second", "enter": {"on": "api"}, "steps": [{"reward": {"give": "gift"}}]}
FIRST = {
    "journey": "first",
    "purpose": "marketing",
    "enter": {"on": "api"},
    "steps": [{"send": {"template": "hello"}}, {"start": {"journey": "second"}}],
}


@pytest.fixture
def folder(tmp_path: Path, api_server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shop's documents as files, of which each journey needs others."""
    monkeypatch.setenv("PERENNIAL_API_URL", api_server.url)
    monkeypatch.setenv("PERENNIAL_API_KEY", api_server.admin_key)
    for name, document in {
        "first": FIRST, "second": SECOND, "templates/hello": HELLO, "templates/layout": LAYOUT, "rewards/gift": GIFT,
    }.items():  # fmt: skip
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(document))
    return tmp_path


async def journeys(*arguments: object) -> Result:
    """The command, in a thread of its own: the API that it asks runs in this one."""
    return await asyncio.to_thread(CliRunner().invoke, app, ["journeys", *map(str, arguments)])


async def states(client: httpx.AsyncClient) -> dict[str, Any]:
    kinds = ("journeys", "templates", "rewards")
    rows = [row for kind in kinds for row in (await client.get(f"/v1/{kind}")).json()["data"]]
    return {row["key"]: (row["state"], row["version"]) for row in rows}


async def test_documents_that_need_each_other_are_published_by_one_push(
    client: httpx.AsyncClient, folder: Path
) -> None:
    pushed = await journeys("push", folder, "--publish")

    assert pushed.exit_code == 0, pushed.output
    assert await states(client) == dict.fromkeys(("first", "second", "hello", "layout", "gift"), ("live", 1))
    again = await journeys("push", folder, "--publish")
    assert (again.exit_code, again.output.count("unchanged")) == (0, 5), again.output


async def test_what_is_pushed_beside_a_journey_is_not_missed_when_drafts_are_saved(folder: Path) -> None:
    (folder / "templates" / "hello.yaml").write_text(yaml.safe_dump({**HELLO, "mjml": LAYOUT["mjml"]}))

    assert (await journeys("push", folder)).exit_code == 0
    alone = await journeys("push", folder / "first.yaml")
    assert alone.exit_code == 0, alone.output  # the draft is as it was, so nothing is checked
    (folder / "first.yaml").write_text(yaml.safe_dump({**FIRST, "name": "Another"}))
    alone = await journeys("push", folder / "first.yaml")
    assert (alone.exit_code, "unknown_template" in alone.output) == (1, True)


async def test_a_push_of_a_missing_file_fails(folder: Path) -> None:
    pushed = await journeys("push", folder / "no-such.yaml")

    assert pushed.exit_code == 1
    assert "there is no such file or folder" in pushed.output.replace("\n", " ")


async def test_a_refused_document_stops_no_other_one_and_fails_the_push(
    client: httpx.AsyncClient, folder: Path
) -> None:
    (folder / "rewards" / "gift.yaml").write_text(yaml.safe_dump({"reward": "gift"}))

    pushed = await journeys("push", folder, "--publish")

    assert pushed.exit_code == 1
    found = await states(client)
    assert {found[key] for key in ("first", "hello", "layout")} == {("live", 1)}
    assert found["second"] == ("draft", None)


async def test_a_pull_writes_documents_of_every_kind_that_a_push_takes_again(folder: Path, tmp_path: Path) -> None:
    await journeys("push", folder, "--publish")
    copy = tmp_path / "copy"

    assert (await journeys("pull", copy)).exit_code == 0

    assert {str(path.relative_to(copy)) for path in copy.rglob("*.yaml")} == {
        "first.yaml", "second.yaml", "templates/hello.yaml", "templates/layout.yaml", "rewards/gift.yaml",
    }  # fmt: skip
    assert (copy / "first.yaml").read_text().splitlines()[:2] == ["journey: first", "purpose: marketing"]
    assert (await journeys("diff", copy)).exit_code == 0
    assert (await journeys("push", copy)).output.count("unchanged") == 5
