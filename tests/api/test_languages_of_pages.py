"""The pages that mails lead to, in the language of the customer."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx
import pytest
from sqlalchemy import select

from connectors.rendering import Renderer
from database.consent import Consent
from database.session import Database
from domain.emails import OutgoingEmail
from tests.sending import PUBLIC_URL, Shop, enter, open_shop


@pytest.fixture
async def shop(database: Database) -> AsyncIterator[Shop]:
    """A shop that can send."""
    renderer = Renderer(processes=1)
    async with open_shop(database, renderer) as shop:
        yield shop
    await renderer.close()


async def mail(shop: Shop, **traits: str) -> OutgoingEmail:
    """A newsletter to Ann."""
    await shop.send(await enter(shop, **traits))
    return shop.provider.taken[-1]


def page_of(email: OutgoingEmail) -> str:
    found = re.search(rf"{PUBLIC_URL}(/u/[\w-]+)", email.text)
    assert found is not None
    return found.group(1)


async def test_a_customer_leaves_in_the_customers_language(shop: Shop, client: httpx.AsyncClient) -> None:
    await shop.set(language="nl")
    email = await mail(shop, locale="de-AT")

    page = await client.get(page_of(email))
    gone = await client.post(page_of(email), data={"action": "unsubscribe"})

    assert f"Abmelden: {PUBLIC_URL}/u/" in email.text
    assert ">Abmelden</a>" in email.html
    assert '<html lang="de">' in page.text
    assert "Ihre E-Mail-Einstellungen" in page.text
    assert "Neuigkeiten und Angebote" in page.text
    assert "Von allem abmelden" in page.text
    assert "Sie sind abgemeldet." in gone.text


async def test_who_states_no_language_reads_the_shops(shop: Shop, client: httpx.AsyncClient) -> None:
    await shop.set(language="fr")
    email = await mail(shop)

    page = await client.get(page_of(email))
    nowhere = await client.get("/u/AAAAAAAAAAAAAAAAAAAAAAAA")

    assert f"Se désabonner: {PUBLIC_URL}/u/" in email.text
    assert "Vos préférences e-mail" in page.text
    assert (nowhere.status_code, "Ce lien n’est pas" in nowhere.text) == (404, True)


async def test_the_evidence_of_a_yes_quotes_what_the_page_said(shop: Shop, client: httpx.AsyncClient) -> None:
    email = await mail(shop, language="es")
    await client.post(page_of(email), data={"action": "unsubscribe"})

    await client.post(page_of(email), data={"action": "save", "subscribed": "marketing"})

    async with shop.database.read() as session:
        kept = select(Consent.evidence).where(Consent.state == "subscribed", Consent.source == "preferences")
        evidence = (await session.scalars(kept)).one()
    assert evidence["text"].endswith("[x] Novedades y ofertas [Guardar mi selección]")
