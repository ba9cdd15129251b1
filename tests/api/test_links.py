"""Links in messages: a scanner that fetches everything changes nothing, one click unsubscribes at once."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import select, update
from temporalio.exceptions import ApplicationError

from api.dependencies import ApiDependencies
from connectors.rendering import Renderer
from database.consent import Consent
from database.customers import Customer
from database.events import Event, append
from database.messages import Link, Message, MessageEvent
from database.session import Database
from domain.emails import OutgoingEmail
from domain.events import EventKind, NewEvent
from domain.provider_answers import Deferred
from tests.sending import NOON, PUBLIC_URL, Shop, add_run, enter, hello_template, open_shop, publish

BROWSER = {"User-Agent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Safari/605.1.15"}
NOW = datetime(2026, 6, 10, 13, 0, tzinfo=UTC)
"""An hour after the messages of these tests were sent."""


@pytest.fixture
def api_dependencies(database: Database) -> ApiDependencies:
    """An API whose clock stands still."""
    return ApiDependencies(database=database, now=lambda: NOW)


@pytest.fixture
async def shop(database: Database) -> AsyncIterator[Shop]:
    """A shop that has sent one message to Ann."""
    renderer = Renderer(processes=1)
    async with open_shop(database, renderer) as shop:
        await shop.send(await enter(shop))
        yield shop
    await renderer.close()


@pytest.fixture
async def anybody(client: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody without a key."""
    async with httpx.AsyncClient(base_url=client.base_url, headers=BROWSER, timeout=30) as anybody:
        yield anybody


def path(email: OutgoingEmail, kind: str) -> str:
    found = re.search(rf"{PUBLIC_URL}(/{kind}/[\w-]+)", email.html)
    assert found is not None
    return found.group(1)


async def consents(shop: Shop) -> Sequence[tuple[str, str]]:
    async with shop.database.read() as session:
        rows = (await session.execute(select(Consent).order_by(Consent.at, Consent.id))).scalars()
        return [(row.state, row.source) for row in rows]


async def reports(shop: Shop) -> Sequence[tuple[str, str | None]]:
    async with shop.database.read() as session:
        rows = (await session.execute(select(MessageEvent).order_by(MessageEvent.at))).scalars()
        return [(row.kind, row.actor) for row in rows]


async def test_a_click_leads_to_the_kept_target_and_is_told_to_journeys(shop: Shop, anybody: httpx.AsyncClient) -> None:
    (email,) = shop.provider.taken

    answer = await anybody.get(path(email, "c"))

    assert (answer.status_code, answer.headers["location"]) == (302, "https://shop.example/cart?a=1&b=2")
    assert await reports(shop) == [("clicked", "human")]
    async with shop.database.read() as session:
        event = (await session.execute(select(Event))).scalar_one()
    assert (event.name, event.subject, event.source) == ("Email Link Clicked", "u:ann", "perennial")
    assert (event.properties["step"], event.properties["machine"]) == ("reminder", False)


async def test_a_target_in_the_address_is_never_followed(shop: Shop, anybody: httpx.AsyncClient) -> None:
    answer = await anybody.get("/c/AAAAAAAAAAAAAAAAAAAAAAAA?url=https://evil.example")

    assert answer.status_code == 404
    assert "evil.example" not in answer.text


@pytest.mark.parametrize(
    ("method", "headers", "after"),
    [
        ("HEAD", {}, timedelta(hours=1)),
        ("GET", {"User-Agent": "Barracuda Sentinel (EE)"}, timedelta(hours=1)),
        ("GET", {"Sec-Purpose": "prefetch"}, timedelta(hours=1)),
        ("GET", {}, timedelta(milliseconds=300)),
    ],
)
async def test_machines_are_recorded_apart(
    shop: Shop, anybody: httpx.AsyncClient, method: str, headers: dict[str, str], after: timedelta
) -> None:
    async with shop.database.transaction() as session:
        await session.execute(update(Message).values(accepted_at=NOW - after))

    answer = await anybody.request(method, path(shop.provider.taken[0], "c"), headers=headers)

    assert answer.status_code == 302
    assert await reports(shop) == [("clicked", "machine")]


async def test_an_opening_is_one_pixel_and_a_report(shop: Shop, anybody: httpx.AsyncClient) -> None:
    answer = await anybody.get(path(shop.provider.taken[0], "o"))

    assert (answer.headers["content-type"], answer.headers["cache-control"]) == ("image/gif", "no-store")
    assert await reports(shop) == [("opened", "human")]


async def test_a_scanner_that_fetches_every_link_changes_no_consent_and_no_message(
    shop: Shop, anybody: httpx.AsyncClient
) -> None:
    (email,) = shop.provider.taken
    before = await shop.message()

    everything = email.html + email.text + email.headers["List-Unsubscribe"]
    for url in re.findall(rf"{PUBLIC_URL}[^\s\"<>]+", everything):
        for method in ("GET", "HEAD"):
            await anybody.request(method, url.replace(PUBLIC_URL, ""))

    assert await consents(shop) == [("subscribed", "api")]
    assert (await shop.message()).state in (before.state, "delivered")  # who fetched it has got it
    assert {actor for _, actor in await reports(shop)} <= {"machine", "human"}


@pytest.mark.parametrize("encoding", ["urlencoded", "multipart", "nothing", "rubbish"])
async def test_one_click_post_unsubscribes_without_cookies_or_redirect(
    shop: Shop, anybody: httpx.AsyncClient, encoding: str
) -> None:
    url = path(shop.provider.taken[0], "u")
    form = {"List-Unsubscribe": "One-Click"}

    match encoding:
        case "urlencoded":
            answer = await anybody.post(url, data=form)
        case "multipart":
            answer = await anybody.post(url, files={"List-Unsubscribe": (None, "One-Click")})
        case "nothing":
            answer = await anybody.post(url)
        case _:
            answer = await anybody.post(
                url, content=b"\xff\x00--", headers={"Content-Type": "multipart/form-data; boundary=x"}
            )

    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    assert await consents(shop) == [("subscribed", "api"), ("unsubscribed", "one-click")]
    async with shop.database.read() as session:
        names = (await session.execute(select(Event.name))).scalars().all()
    assert sorted(names) == ["Consent Withdrawn", "Unsubscribed"]


async def test_unsubscribing_cancels_what_was_claimed_in_the_same_transaction(
    shop: Shop, anybody: httpx.AsyncClient
) -> None:
    sent = await shop.message()
    async with shop.database.transaction() as session:
        assert sent.customer_id is not None
        second = await add_run(session, sent.customer_id)
    shop.provider.script = [Deferred("http_503", 503)]
    with pytest.raises(ApplicationError, match="try again"):
        await shop.send(second, as_of=NOON + timedelta(minutes=1))

    await anybody.post(path(shop.provider.taken[0], "u"), data={"List-Unsubscribe": "One-Click"})

    assert [(message.state, message.reason) for message in await shop.messages()][-1] == ("cancelled", "unsubscribed")
    async with shop.database.transaction() as session:
        await session.execute(update(Event).values(status="routed"))
    outcome = await shop.send(second, as_of=NOON + timedelta(minutes=2))
    assert outcome.reason == "unsubscribed"
    assert len(shop.provider.calls) == 2


async def test_the_page_shows_choices_and_saves_only_what_was_changed(shop: Shop, anybody: httpx.AsyncClient) -> None:
    url = path(shop.provider.taken[0], "u")

    page = await anybody.get(url)
    same = await anybody.post(url, data={"action": "save", "known": "marketing", "subscribed": "marketing"})
    off = await anybody.post(url, data={"action": "save", "known": "marketing"})
    on = await anybody.post(url, data={"action": "save", "known": "marketing", "subscribed": "marketing"})

    assert "an…@example.com" in page.text
    assert "checked" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "checked" in same.text
    assert "checked" not in off.text.replace("Unchecked", "")
    assert "checked" in on.text
    assert await consents(shop) == [
        ("subscribed", "api"),
        ("unsubscribed", "preferences"),
        ("subscribed", "preferences"),
    ]


async def test_a_pending_consent_is_confirmed_from_the_mailbox(shop: Shop, anybody: httpx.AsyncClient) -> None:
    url = path(shop.provider.taken[0], "u")
    async with shop.database.transaction() as session:
        await session.execute(update(Consent).values(state="pending", source="event"))

    before = await anybody.get(url)
    await anybody.post(url, data={"action": "save", "subscribed": "marketing"})

    assert "checked" not in before.text
    assert await consents(shop) == [("pending", "event"), ("subscribed", "double-opt-in")]


async def test_a_message_is_viewed_in_the_browser_inside_a_sandbox(shop: Shop, anybody: httpx.AsyncClient) -> None:
    async with shop.database.read() as session:
        token = (await session.execute(select(Link.token).where(Link.kind == "view"))).scalar_one()
        other = (await session.execute(select(Link.token).where(Link.kind == "unsubscribe"))).scalar_one()

    page = await anybody.get(f"/v/{token}")

    assert "<p>Hi</p>" in page.text
    assert page.headers["content-security-policy"].startswith("sandbox allow-popups")
    assert (await anybody.get(f"/v/{other}")).status_code == 404  # a token is good for one thing only


async def test_a_message_of_text_only_is_viewed_as_text(shop: Shop, anybody: httpx.AsyncClient) -> None:
    async with shop.database.transaction() as session:
        await publish(session, "template", "hello", hello_template(html=None, text="Zoë <b>\n{{ links.view }}"))
    await shop.send(await enter(shop, "bob"))
    found = re.search(rf"{PUBLIC_URL}(/v/[\w-]+)", shop.provider.taken[-1].text)
    assert found is not None

    page = await anybody.get(found.group(1))

    assert page.headers["content-type"] == "text/plain; charset=utf-8"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.text.startswith("Zoë <b>\n")


@pytest.mark.parametrize(
    "address", ["/u/short", "/u/" + "A" * 24, "/v/" + "A" * 24, "/c/" + "A" * 24, "/c/%00%ff" + "A" * 20]
)
async def test_tokens_that_were_never_given_out_answer_not_found(anybody: httpx.AsyncClient, address: str) -> None:
    assert (await anybody.get(address)).status_code in (404, 422)
    if address.startswith("/u/"):
        assert (await anybody.post(address)).status_code in (404, 422)


@pytest.mark.parametrize("is_routed", [True, False])
async def test_whoever_unsubscribes_has_unsubscribed_whatever_a_consent_dated_ahead_says(
    shop: Shop, anybody: httpx.AsyncClient, is_routed: bool
) -> None:
    url, ahead = path(shop.provider.taken[0], "u"), NOW + timedelta(hours=20)
    async with shop.database.transaction() as session:
        if is_routed:
            await session.execute(update(Consent).values(at=ahead))
        else:
            who = (await session.execute(select(Customer.external_id))).scalar_one()
            granted = NewEvent("shop", "m", EventKind.TRACK, "Consent Granted", ahead, NOW, user_id=who)
            await append(session, [granted])

    await anybody.post(url, data={"List-Unsubscribe": "One-Click"})

    async with shop.database.read() as session:
        [withdrawn] = (await session.execute(select(Consent.at).where(Consent.state == "unsubscribed"))).scalars()
        told = (await session.execute(select(Event.timestamp).where(Event.name == "Consent Withdrawn"))).scalar_one()
    assert withdrawn == told == ahead + timedelta(microseconds=1)
    page = await anybody.get(url)
    assert "checked" not in page.text

    await anybody.post(url, data={"action": "save", "subscribed": "marketing"})

    assert "checked" in (await anybody.get(url)).text
