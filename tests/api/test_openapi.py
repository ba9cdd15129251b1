"""The OpenAPI document is complete and true: fuzzing the API by it, with good and bad data, finds nothing."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from activities.pacing import Pacer
from activities.trial_messages import TrialSender
from api.dependencies import ApiDependencies
from connectors.outbox_provider import OutboxProvider
from connectors.rendering import Renderer
from database.session import Database
from domain.yaml import read_yaml
from tests.api.conftest import ApiServer
from tests.factories import make_customer, make_events
from triggers.live import LiveCache
from triggers.router import Router
from triggers.routing import Routing

SECONDS = os.environ.get("FUZZ_SECONDS", "75")


@pytest.fixture
def api_dependencies(database: Database) -> ApiDependencies:
    """An API that can do everything: render, send tests, show the inbox."""
    renderer = Renderer(processes=1)
    trials = TrialSender(database, renderer, OutboxProvider(), Pacer(database, {}), public_url="https://shop.example")
    return ApiDependencies(database=database, renderer=renderer, trials=trials, is_inbox_open=True)


@pytest.fixture
async def document(client: httpx.AsyncClient) -> dict[str, Any]:
    answer: dict[str, Any] = (await client.get("/openapi.json")).json()
    return answer


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """(METHOD /path, operation) of every operation."""
    return [
        (f"{method.upper()} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


@pytest.mark.slow
async def test_fuzzing_by_the_document_finds_nothing(
    api_server: ApiServer, database: Database, document: dict[str, Any], tmp_path: Path
) -> None:
    assert document["paths"]  # made once, which takes longer than schemathesis waits
    ours = await make_customer(database, "ann", traits={"email": "ann@example.com"})
    await make_events(database, ours, "ann", "Product Added", "Order Completed")
    schemathesis = Path(sys.executable).with_name("schemathesis")
    process = await asyncio.create_subprocess_exec(
        *(schemathesis, "run", f"{api_server.url}/openapi.json", "--max-time", SECONDS),
        *("-H", f"Authorization: Bearer {api_server.admin_key}", "--continue-on-failure", "--no-color"),
        *("--suppress-health-check", "all", "--request-timeout", "60"),
        *("--phases", "examples,coverage,fuzzing", "--max-examples", "20"),
        cwd=tmp_path,
        env={**os.environ, "HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    stop = asyncio.Event()
    routing = asyncio.create_task(Router(database, Routing(LiveCache())).run(stop))  # some calls wait for a customer
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
        stop.set()
        await routing

    Path(os.environ.get("FUZZ_LOG", "/dev/null")).write_bytes(output)
    assert process.returncode == 0, output.decode()[-10_000:]


async def test_every_operation_has_a_summary_a_tag_an_id_of_its_own_and_says_how_it_is_refused(
    document: dict[str, Any],
) -> None:
    found = operations(document)

    assert document["openapi"] == "3.1.0"
    assert [name for name, each in found if not each.get("summary") or len(each.get("tags", [])) != 1] == []
    assert [name for name, each in found if "default" not in each["responses"]] == []
    ids = Counter(each["operationId"] for _, each in found)
    assert [id_ for id_, count in ids.items() if count > 1] == []


async def test_posts_that_change_something_take_an_idempotency_key_and_questions_do_not(
    document: dict[str, Any],
) -> None:
    asking = {
        name
        for name, each in operations(document)
        if name.startswith("POST") and each.get("security")
        if not any(parameter["name"] == "Idempotency-Key" for parameter in each.get("parameters", []))
    }

    events = {name for name, each in operations(document) if each["tags"] == ["events"]}
    questions = {"preview", "simulate", "check", "dry-run", "validate"}
    assert questions == {name.rpartition("/")[2] for name in asking - events}
    assert "x-only-asks" not in json.dumps(document)


async def test_the_journeys_that_ship_fit_the_published_schema_of_the_language(document: dict[str, Any]) -> None:
    whole = {"$ref": "#/components/schemas/JourneyDefinition", "components": document["components"]}
    validator = jsonschema.Draft202012Validator(whole)

    for file in sorted(Path("templates/journeys").glob("*.yaml")):
        assert [fault.message for fault in validator.iter_errors(read_yaml(file.read_text()))] == [], file


async def test_what_fits_the_outline_of_a_journey_fits_the_whole(document: dict[str, Any]) -> None:
    body = document["components"]["schemas"]["JourneyDefinitionDraft"]
    steps = body["properties"]["steps"]["items"]["anyOf"]
    whole = document["components"]["schemas"]

    assert "$defs" not in str(document)
    assert len(json.dumps(body)) < 40_000
    kinds = [kind for step in steps for kind in step["properties"] if kind not in ("id", "name")]
    assert set(kinds) <= {kind for name in whole if name.endswith("Step") for kind in whole[name]["properties"]}
    assert {"send", "wait", "wait_for", "exit"} <= set(kinds)


async def test_the_reference_page_needs_no_other_host(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs")).text

    files = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(files) == 3
    for file in files:
        assert file.startswith("/")
        assert (await client.get(file)).status_code == 200
