"""Links in mails that were delivered before an erasure: they answer kindly, tell the truth, and keep nothing."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

import httpx
import pytest
from sqlalchemy import func, select, text, update
from temporalio.client import Client
from temporalio.testing import ActivityEnvironment

from activities.erasures import ErasureActivities
from api.dependencies import ApiDependencies
from connectors.rendering import Renderer
from database.consent import Consent, MailboxAnswer
from database.customers import Customer
from database.events import Event
from database.message_reports import report
from database.messages import Link, MessageEvent
from database.referral_codes import ReferralClicks
from database.session import Database
from database.shop_settings import save_shop_settings
from domain.engagement import Actor
from domain.erasures import ErasureInput, ProofInput
from domain.message_events import Kind, Report
from domain.shop_settings import ShopSettings
from tests.api.clock import Clock
from tests.factories import make_customer
from tests.sending import PUBLIC_URL, Shop, add_customer, add_run, enter, open_shop

AGENT = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Safari/605.1.15"
NOW = datetime(2026, 6, 10, 13, 0, tzinfo=UTC)
WEBSITE = "https://shop.example/"


@pytest.fixture
def clock() -> Clock:
    """An hour after the message was sent."""
    return Clock(NOW)


@pytest.fixture
def api_dependencies(database: Database, clock: Clock) -> ApiDependencies:
    """An API by the test's clock."""
    return ApiDependencies(database=database, now=clock)


@pytest.fixture
async def shop(database: Database) -> AsyncIterator[Shop]:
    """A shop with a website that has sent one message to Ann."""
    renderer = Renderer(processes=1)
    async with open_shop(database, renderer) as shop:
        await shop.set(name="Petal & Stem", website=WEBSITE)
        await shop.send(await enter(shop))
        yield shop
    await renderer.close()


@pytest.fixture(params=["begun", "carried out"])
async def erased(
    request: pytest.FixtureRequest, shop: Shop, client: httpx.AsyncClient, temporal_client: Client
) -> dict[str, str]:
    """Ann's links by kind, after her erasure was asked for, or has ended."""
    async with shop.database.read() as session:
        links = {link.kind[0]: f"/{link.kind[0]}/{link.token}" for link in await session.scalars(select(Link))}
    job = await erase(client, "ann")
    if request.param == "carried out":
        await carry_out(shop.database, temporal_client, job)
    return links


@pytest.fixture
async def anybody(client: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody without a key."""
    async with httpx.AsyncClient(base_url=client.base_url, headers={"User-Agent": AGENT}, timeout=30) as anybody:
        yield anybody


def path(html: str, kind: str) -> str:
    found = re.search(rf"{PUBLIC_URL}(/{kind}/[\w-]+)", html)
    assert found is not None
    return found.group(1)


async def erase(client: httpx.AsyncClient, who: str) -> UUID:
    answer = await client.delete(f"/v1/customers/{who}")
    assert answer.status_code == 202, answer.text
    return UUID(answer.json()["id"])


async def carry_out(database: Database, temporal: Client, job: UUID) -> None:
    activities, given = ErasureActivities(database, temporal), ErasureInput(erasure_id=job)
    await ActivityEnvironment().run(activities.delete_executions, given)
    await ActivityEnvironment().run(activities.remove_records, given)
    await ActivityEnvironment().run(activities.prove, ProofInput(erasure_id=job, as_of=NOW, last=True))


async def test_a_click_in_an_erased_persons_mail_leads_to_the_shop_and_keeps_nothing(
    erased: dict[str, str], shop: Shop, anybody: httpx.AsyncClient
) -> None:
    for method in ("GET", "HEAD"):
        answer = await anybody.request(method, erased["c"])
        assert (answer.status_code, answer.headers["location"]) == (302, WEBSITE)

    await shop.set(name="Petal & Stem")
    page = await anybody.get(erased["c"])
    assert (page.status_code, "Petal &amp; Stem" in page.text) == (200, True)
    await nothing_was_kept(shop)


async def test_the_pixel_of_an_erased_persons_mail_is_a_pixel(
    erased: dict[str, str], shop: Shop, anybody: httpx.AsyncClient
) -> None:
    answer = await anybody.get(erased["o"])

    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/gif")
    await nothing_was_kept(shop)


async def test_an_erased_persons_mail_and_preferences_say_that_nothing_is_kept(
    erased: dict[str, str], shop: Shop, anybody: httpx.AsyncClient
) -> None:
    view, preferences = await anybody.get(erased["v"]), await anybody.get(erased["u"])

    assert (view.status_code, "No longer kept" in view.text, "Hi" in view.text) == (200, True, False)
    assert (preferences.status_code, "Nothing is kept about you" in preferences.text) == (200, True)
    assert "@" not in preferences.text.replace("@media", "")
    await nothing_was_kept(shop)


@pytest.mark.parametrize(
    "form",
    [{"List-Unsubscribe": "One-Click"}, {}, {"action": "unsubscribe"}, {"action": "save"}],
    ids=["one-click", "nothing", "page", "all boxes empty"],
)
async def test_an_erased_person_can_unsubscribe_by_an_old_mail(
    erased: dict[str, str], shop: Shop, anybody: httpx.AsyncClient, form: dict[str, str]
) -> None:
    answer = await anybody.post(erased["u"], data=form)

    assert (answer.status_code, "unsubscribed" in answer.text) == (200, True)
    await nothing_was_kept(shop)


async def test_an_erased_persons_old_choices_subscribe_nobody(
    erased: dict[str, str], shop: Shop, anybody: httpx.AsyncClient
) -> None:
    answer = await anybody.post(erased["u"], data={"action": "save", "subscribed": "marketing"})

    assert (answer.status_code, "Nothing is kept about you" in answer.text) == (200, True)
    await nothing_was_kept(shop)


async def nothing_was_kept(shop: Shop) -> None:
    """No report about the message says anything, nobody consented, and no browser was written down."""
    async with shop.database.read() as session:
        assert [row.detail for row in await session.scalars(select(MessageEvent))] in ([], [{}])
        assert await session.scalar(select(func.count()).select_from(Consent).where(Consent.source != "api")) == 0
        kept = "SELECT count(*) FROM {} t WHERE t::text LIKE '%AppleWebKit%'"
        for table in ("message_events", "events", "consents", "erased_links", "suppressions", "restore_journal"):
            assert await session.scalar(text(kept.format(table))) == 0


async def test_who_came_back_after_an_erasure_and_unsubscribes_by_an_old_mail_gets_no_more(
    shop: Shop, client: httpx.AsyncClient, anybody: httpx.AsyncClient, temporal_client: Client, clock: Clock
) -> None:
    old_mail = shop.provider.taken[0]
    await carry_out(shop.database, temporal_client, await erase(client, "ann"))
    async with shop.database.transaction() as session:
        back = await add_customer(session, "ann-again", consent=None)
        await session.execute(update(Customer).where(Customer.id == back).values(traits={"email": old_mail.to}))
        runs = [await add_run(session, back), await add_run(session, back)]
    clock.later(minutes=1)
    await client.put("/v1/customers/ann-again/consent", json={"state": "subscribed", "address": old_mail.to})
    async with shop.database.transaction() as session:
        await session.execute(update(Event).values(status="routed"))
    await shop.send(runs[0], as_of=clock.now)
    assert len(shop.provider.taken) == 2

    clock.later(minutes=1)
    await anybody.post(path(old_mail.html, "u"), data={"List-Unsubscribe": "One-Click"})
    await shop.send(runs[1], as_of=clock.now)

    last = (await shop.messages())[-1]
    assert (last.state, last.reason, len(shop.provider.taken)) == ("skipped", "unsubscribed", 2)


async def test_a_link_that_nobody_ever_had_is_still_not_one_of_ours(shop: Shop, anybody: httpx.AsyncClient) -> None:
    unknown = "A" * 24
    answers = [await anybody.get(f"/{kind}/{unknown}") for kind in "cuvrs"]
    answers.append(await anybody.post(f"/u/{unknown}"))

    assert {answer.status_code for answer in answers} == {404}


async def test_what_is_reported_of_an_erased_persons_mail_counts_and_is_not_kept(
    erased: dict[str, str], shop: Shop
) -> None:
    """As by a click that found the link a moment before the erasure, or by a provider a day later."""
    told = [
        Report("perennial", "clicked/1", Kind.CLICKED, NOW, Actor.HUMAN, detail={"user_agent": AGENT}),
        Report("sendgrid", "sg-1", Kind.DELIVERED, NOW, detail={"response": f"250 OK for {AGENT}"}),
    ]
    message = await shop.message()
    async with shop.database.transaction() as session:
        await report(session, [(message.id, each) for each in told], NOW)
        assert await session.scalar(select(func.count()).select_from(MailboxAnswer)) == 0

    assert (await shop.message()).state == "delivered"
    async with shop.database.read() as session:
        assert [row.detail for row in await session.scalars(select(MessageEvent))] == [{}, {}]


async def test_links_that_an_erased_person_shared_lead_friends_to_the_shop(
    client: httpx.AsyncClient, anybody: httpx.AsyncClient, database: Database, temporal_client: Client
) -> None:
    async with database.transaction() as session:
        await save_shop_settings(session, ShopSettings(website=WEBSITE), NOW)
    await make_customer(database, "ann", traits={"email": "ann@example.com"})
    code = (await client.get("/v1/customers/ann/referral")).json()["code"]
    wish = {"object": "lamp", "url": "https://shop.example/lamps?for=ann"}
    shared = (await client.post("/v1/customers/ann/shares", json=wish)).json()["link"]
    links = [f"/r/{code}", f"/r/{code.lower()}", "/s/" + shared.rsplit("/", 1)[1]]

    job = await erase(client, "ann")
    begun = [await anybody.get(link) for link in links]
    await carry_out(database, temporal_client, job)
    ended = [await anybody.get(link) for link in links]

    assert {(each.status_code, each.headers["location"]) for each in begun + ended} == {(302, WEBSITE)}
    async with database.read() as session:
        assert await session.scalar(select(func.count()).select_from(ReferralClicks)) == 0
