"""The built-in journeys `tier-upgrade` and `referral-reward`: published like any other, with mail good to look at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
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


async def previews(client: httpx.AsyncClient, journey: str, templates: Collection[str]) -> dict[str, dict[str, str]]:
    """Publish a journey with its templates; each template as it looks, with nothing left to fill in."""
    written = read_templates(TEMPLATES / "email")
    for key in ("layout", *templates):
        await publish(client, "templates", key, written[key])
    await publish(client, "journeys", journey, read_folder(TEMPLATES / "journeys", "journey")[journey])
    seen = {}
    for key in templates:
        answer = await client.post(f"/v1/templates/{key}/preview", json={})
        assert answer.status_code == 200, answer.text
        seen[key] = answer.json()
        assert "{{" not in seen[key]["html"] + seen[key]["text"] + seen[key]["subject"]
    return seen


async def test_the_welcome_to_a_tier_can_be_published_and_shows_what_it_brings(client: httpx.AsyncClient) -> None:
    for mail in (await previews(client, "tier-upgrade", ("tier-welcome", "tier-benefits"))).values():
        assert "Gold" in mail["subject"]
        assert "Free shipping" in mail["html"]
        assert "2,050" in mail["html"]


async def test_the_mail_about_friends_can_be_published_and_leads_to_the_link(client: httpx.AsyncClient) -> None:
    names = ("invitation", "reminder", "friend-joined", "friend-ordered", "reward", "welcome")

    seen = await previews(client, "referral-reward", [f"referral-{name}" for name in names])

    assert all("Ann" in mail["html"] for mail in seen.values())
    for name in ("invitation", "reminder"):
        assert "https://shop.example/r/PREV1EW0" in seen[f"referral-{name}"]["html"]
