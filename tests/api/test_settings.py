"""The shop's settings over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from database.audit import AuditEntry
from database.session import Database
from database.shop_settings import ShopSettingsRow, shop_settings

SETTINGS: dict[str, Any] = {
    "name": "Blumenladen Grün",
    "language": "de",
    "zone": "Europe/Berlin",
    "currency": "EUR",
    "sender": {"name": "Grün", "email": "hallo@gruen.example", "reply_to": "frag@gruen.example"},
    "quiet_hours": {"from": "22:00", "to": "08:00"},
    "frequency_caps": [{"channel": "email", "purpose": "marketing", "at_most": 3, "per": "7d"}],
    "consent_defaults": {"newsletter": "subscribed"},
    "postal_address": "Blumenstraße 1\n10115 Berlin",
    "link_base": "https://go.gruen.example",
}


async def test_a_new_shop_has_settings_that_work(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/settings")

    assert (answer.status_code, answer.json()["zone"], answer.json()["quiet_hours"]) == (200, "UTC", None)


async def test_settings_are_replaced_and_read_back(client: httpx.AsyncClient, database: Database) -> None:
    saved = await client.put("/v1/settings", json=SETTINGS)

    assert (saved.status_code, saved.json()) == (200, saved.json() | SETTINGS)
    read = await client.get("/v1/settings")
    assert (read.json(), read.headers["etag"]) == (saved.json(), saved.headers["etag"])
    async with database.read() as session:
        assert (await shop_settings(session)).zone == "Europe/Berlin"


async def test_what_is_left_out_gets_its_default(client: httpx.AsyncClient) -> None:
    await client.put("/v1/settings", json=SETTINGS)

    assert (await client.put("/v1/settings", json={"name": "Grün"})).json()["quiet_hours"] is None


async def test_an_older_release_reads_the_settings_while_none_that_it_does_not_know_is_in_use(
    client: httpx.AsyncClient, database: Database
) -> None:
    shown = (await client.put("/v1/settings", json={"name": "Grün"})).json()
    await client.put("/v1/settings", json=shown)

    async with database.read() as session:
        assert await session.scalar(select(ShopSettingsRow.document)) == {"name": "Grün"}


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"zone": "Europe/Nowhere"}, "/zone"),
        ({"currency": "euro"}, "/currency"),
        ({"language": "Deutsch"}, "/language"),
        ({"sender": {"name": "a\r\nBcc: x", "email": "a@b.example"}}, "/sender/name"),
        ({"sender": {"name": "a", "email": "not an address"}}, "/sender/email"),
        ({"sender": {"name": "a", "email": "grüße@b.example"}}, "/sender/email"),
        ({"sender": {"name": "a", "email": "a@b.example", "reply_to": "zoë@b.example"}}, "/sender/reply_to"),
        ({"sender": {"name": "a", "email": "a@-ü.example"}}, "/sender/email"),
        ({"quiet_hours": {"from": "22:00", "to": "25:00"}}, "/quiet_hours/to"),
        ({"frequency_caps": [{"at_most": 1, "per": "fortnight"}]}, "/frequency_caps/0/per"),
        ({"consent_defaults": {"marketing": "maybe"}}, "/consent_defaults/marketing"),
        ({"colour": "green"}, "/colour"),
    ],
)
async def test_settings_of_another_shape_are_refused_with_a_pointer(
    client: httpx.AsyncClient, change: dict[str, Any], pointer: str
) -> None:
    answer = await client.put("/v1/settings", json=SETTINGS | change)

    assert answer.status_code == 422
    assert pointer in [fault["pointer"] for fault in answer.json()["errors"]]


async def test_of_two_people_who_edit_at_once_one_is_told_to_read_again(client: httpx.AsyncClient) -> None:
    etag = (await client.get("/v1/settings")).headers["etag"]

    answers = await asyncio.gather(
        *(client.put("/v1/settings", json={"name": f"{n}"}, headers={"If-Match": etag}) for n in range(6))
    )

    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 5


async def test_the_audit_log_names_what_was_changed(client: httpx.AsyncClient, database: Database) -> None:
    await client.put("/v1/settings", json={"name": "Grün", "currency": "CHF"})

    async with database.read() as session:
        entry = (await session.execute(select(AuditEntry))).scalar_one()
    assert (entry.action, entry.target, entry.detail) == ("save", "settings", {"changed": ["currency", "name"]})
