"""Documents over HTTP, where something else than the API answers."""

from __future__ import annotations

import httpx
import pytest

from domain.errors import Unavailable
from perennial.documents import DocumentsApi, RefusedError, open_client
from tests.fake_sendgrid import Reply, fake_sendgrid


@pytest.mark.parametrize("body", [b"<html>Log in to the hotel's network</html>", b"", b"[]"])
async def test_the_page_of_a_captive_portal_is_no_answer_of_the_api(body: bytes) -> None:
    portal = httpx.MockTransport(lambda request: httpx.Response(200, content=body))
    async with httpx.AsyncClient(base_url="https://shop.example", transport=portal) as client:
        with pytest.raises(Unavailable, match="portal"):
            await DocumentsApi(client, "journeys").load("welcome")


async def test_the_admin_key_follows_no_redirect() -> None:
    with fake_sendgrid() as portal, fake_sendgrid() as api:
        api.script = [Reply(302, {"Location": f"{portal.url}/login"})]
        async with open_client(api.url, "sk_secret") as client:
            with pytest.raises(RefusedError):
                await DocumentsApi(client, "journeys")._call("POST", "/v1/journeys", json={})

        assert portal.heard == []
