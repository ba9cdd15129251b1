"""The link of a double opt-in asks one question, and grants what it asked for."""

from __future__ import annotations

import re

import httpx
from sqlalchemy import select

from database.consent import Consent
from domain.emails import OutgoingEmail
from tests.addressing import PERSON, Town
from tests.sending import PUBLIC_URL, hello_template, publish

ANN = "ann@example.com"


async def asked(town: Town, **requested: str) -> OutgoingEmail:
    """The mail that asks Ann for her yes."""
    async with town.sending.database.transaction() as session:
        html = '<p><a href="{{ links.confirm }}">Yes</a></p>'
        await publish(session, "template", "hello", hello_template(html=html))
    await town.identify("ann", email=ANN, browser=True)
    await town.track("ann", "Consent Requested", browser=True, **requested)
    await town.send_of(await town.latest_run("ann", "confirm"))
    return town.mails_to(ANN)[-1]


async def follow(town: Town, mail: OutgoingEmail, method: str) -> httpx.Response:
    found = re.search(rf"{PUBLIC_URL}(/u/[\w-]+/confirm)", mail.html)
    assert found is not None
    town.clock.tick(60)
    answer = await town.http.request(method, found.group(1), headers=PERSON)
    await town.route()
    return answer


async def test_a_press_of_the_button_subscribes_and_a_look_at_the_page_does_not(town: Town) -> None:
    mail = await asked(town)

    page = await follow(town, mail, "GET")
    assert await town.write_to("ann") == (None, "no_consent")
    thanks = await follow(town, mail, "POST")

    assert "about this: News and offers?" in page.text
    assert "Thank you" in thanks.text
    assert await town.write_to("ann") == (ANN, None)
    async with town.sending.database.read() as session:
        evidence = (await session.scalars(select(Consent.evidence).where(Consent.source == "double-opt-in"))).one()
    assert evidence["text"].endswith("about this: News and offers? [Yes, please]")


async def test_only_what_the_mail_was_about_is_granted(town: Town) -> None:
    mail = await asked(town, purpose="news")
    await town.track("ann", "Consent Requested", browser=True)

    page = await follow(town, mail, "GET")
    await follow(town, mail, "POST")

    assert "about this: News?" in page.text
    assert await town.write_to("ann", "newsletter") == (ANN, None)
    assert await town.write_to("ann") == (None, "no_consent")


async def test_whoever_has_said_yes_or_no_already_is_led_to_the_preferences(town: Town) -> None:
    mail = await asked(town)
    await follow(town, mail, "POST")

    for method in ("GET", "POST"):
        again = await follow(town, mail, method)
        assert again.status_code == 303
        path = str(again.request.url.join(again.headers["location"]).path)
        assert "Your email preferences" in (await town.http.get(path, headers=PERSON)).text

    await town.open(mail, "u", action="unsubscribe")
    await follow(town, mail, "POST")
    assert await town.write_to("ann") == (None, "unsubscribed")
