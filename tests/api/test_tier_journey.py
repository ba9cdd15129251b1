"""The built-in journey `tier-upgrade` and its templates: published like abandoned-cart, and good to look at."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from api.dependencies import ApiDependencies
from connectors.rendering import Renderer
from database.session import Database
from perennial.builtins import read_templates
from perennial.document_files import read_folder

TEMPLATES = Path("templates")


@pytest.fixture
async def api_dependencies(database: Database) -> AsyncIterator[ApiDependencies]:
    """An API that renders."""
    renderer = Renderer(processes=1)
    yield ApiDependencies(database=database, renderer=renderer)
    await renderer.close()


async def publish(client: httpx.AsyncClient, kind: str, key: str, document: object) -> None:
    saved = await client.put(f"/v1/{kind}/{key}", json=document)
    assert saved.status_code == 200, saved.text
    assert [each for each in saved.json()["findings"] if each["severity"] == "error"] == []
    published = await client.post(f"/v1/{kind}/{key}/publish", json={})
    assert published.status_code == 200, published.text


async def test_the_journey_and_its_templates_can_be_published_and_seen(client: httpx.AsyncClient) -> None:
    templates = read_templates(TEMPLATES / "email")
    for key in ("layout", "tier-welcome", "tier-benefits"):
        await publish(client, "templates", key, templates[key])
    await publish(client, "journeys", "tier-upgrade", read_folder(TEMPLATES / "journeys", "journey")["tier-upgrade"])

    for key in ("tier-welcome", "tier-benefits"):
        seen = (await client.post(f"/v1/templates/{key}/preview", json={})).json()
        assert "Gold" in seen["subject"]
        assert "Free shipping" in seen["html"]
        assert "2,050" in seen["html"]
        assert "{{" not in seen["html"] + seen["text"] + seen["subject"]
