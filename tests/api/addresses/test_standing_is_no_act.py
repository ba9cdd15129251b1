"""A statement of how things stand elsewhere never overrides what customers did themselves; evidence is kept."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from sqlalchemy import select

from database.consent import Consent
from tests.addressing import Town

ANN = "ann@shop.example"


async def take(town: Town, *rows: dict[str, Any], routed: bool = True) -> dict[str, Any]:
    """Import JSON lines; the answer's body."""
    town.clock.tick()
    body = b"\n".join(orjson.dumps(row) for row in rows)
    answer = await town.admin("POST", "/v1/customers/import", content=body)
    assert answer.status_code == 200, answer.text
    if routed:
        await town.route()
    report: dict[str, Any] = answer.json()
    return report


def codes(report: dict[str, Any]) -> list[str]:
    return [each["code"] for each in report["errors"]]


def row(**consents: Any) -> dict[str, Any]:
    return {"user_id": "ann", "email": ANN, "consent": consents}


async def test_a_nightly_file_never_subscribes_again_whoever_clicked_unsubscribe(town: Town) -> None:
    assert codes(await take(town, row(marketing="subscribed"))) == []
    assert await town.write_to("ann") == (ANN, None)
    await town.open(town.mails_to(ANN)[0], "u", action="unsubscribe")

    report = await take(town, {**row(marketing="subscribed"), "plan": "gold"})
    assert codes(report) == ["consent_withdrawn"]
    assert (report["imported"], report["rejected"]) == (1, 0)  # the rest of the row is taken
    csv = f"user_id,email,timestamp,consent.marketing\nann,{ANN},{town.clock.now.isoformat()},Subscribed\n"
    answer = await town.admin("POST", "/v1/customers/import", content=csv, headers={"Content-Type": "text/csv"})
    assert codes(answer.json()) == ["consent_withdrawn"]
    await town.route()

    assert await town.write_to("ann") == (None, "unsubscribed")
    assert (await town.admin("GET", "/v1/customers/ann")).json()["traits"]["plan"] == "gold"


@pytest.mark.parametrize(
    ("withdrawn", "stated"),
    [
        ({"purpose": "marketing", "channel": "all"}, "marketing"),
        ({"purpose": "marketing"}, "news"),
        ({"purpose": "news"}, "news"),
    ],
)
async def test_no_wider_or_narrower_statement_overrides_a_withdrawal(
    town: Town, withdrawn: dict[str, str], stated: str
) -> None:
    await town.identify("ann", email=ANN)
    await town.consent("ann", "unsubscribed", **withdrawn)

    assert codes(await take(town, row(**{stated: "subscribed"}))) == ["consent_withdrawn"]
    states = (await town.admin("GET", "/v1/customers/ann/consent")).json()["data"]
    assert {each["state"] for each in states} == {"unsubscribed"}


async def test_a_withdrawal_that_comes_in_late_voids_a_statement_that_was_taken_before(town: Town) -> None:
    before = town.clock.now.isoformat()
    await take(town, row(marketing="subscribed"))
    assert await town.consents("ann") == [("subscribed", "import")]

    late = {"userId": "ann", "event": "Consent Withdrawn", "properties": {}, "timestamp": before}
    await town.post("track", late)

    assert await town.consents("ann") == [("unsubscribed", "event")]
    assert await town.write_to("ann") == (None, "unsubscribed")


async def test_a_withdrawal_that_waits_to_be_routed_is_a_withdrawal(town: Town) -> None:
    await town.identify("ann", email=ANN)
    gone = {"userId": "ann", "event": "Consent Withdrawn", "properties": {"purpose": "marketing"}}
    await town.post("track", gone, routed=False)

    assert codes(await take(town, row(marketing="subscribed"), routed=False)) == ["consent_withdrawn"]


async def test_a_new_id_with_an_address_that_was_taken_back_is_no_new_beginning(town: Town) -> None:
    await town.identify("ann", email=ANN)
    await town.consent("ann", "unsubscribed")

    report = await take(town, {"user_id": "ann-2", "email": "Ann@Shop.example", "consent": {"marketing": "subscribed"}})
    assert codes(report) == ["consent_withdrawn"]
    assert await town.write_to("ann-2") == (None, "unsubscribed")


async def test_an_import_with_its_own_time_and_evidence_is_an_act(town: Town) -> None:
    await town.identify("ann", email=ANN)
    await town.consent("ann", "unsubscribed")
    town.clock.tick(3600)
    given = {"state": "subscribed", "at": town.clock.now.isoformat(), "text": "Yes, mail me", "form": "till 4"}
    town.clock.tick(3600)

    for proofless in ({"state": "subscribed", "at": given["at"]}, {"state": "subscribed", "text": "Yes"}):
        assert codes(await take(town, row(marketing=proofless))) == ["consent_withdrawn"]
    assert codes(await take(town, row(marketing=given))) == []

    assert await town.consents("ann") == [("subscribed", "import")]
    assert await town.write_to("ann") == (ANN, None)


async def test_a_csv_has_the_time_and_evidence_of_a_consent_in_columns_of_their_own(town: Town) -> None:
    await town.identify("ann", email=ANN)
    await town.consent("ann", "unsubscribed")
    town.clock.tick(3600)
    columns = "consent.marketing,consent.marketing.at,consent.marketing.text"
    body = f"user_id,email,{columns}\nann,{ANN},subscribed,{town.clock.now.isoformat()},Yes please\n"
    town.clock.tick(3600)
    answer = await town.admin("POST", "/v1/customers/import", content=body, headers={"Content-Type": "text/csv"})
    assert codes(answer.json()) == []
    await town.route()

    assert await town.consents("ann") == [("subscribed", "import")]


async def test_an_event_import_without_evidence_is_a_statement_too(town: Town) -> None:
    await town.identify("ann", email=ANN)
    await town.consent("ann", "unsubscribed")
    await town.post("import", {"batch": [{"type": "track", "userId": "ann", "event": "Consent Granted"}]})

    assert await town.consents("ann") == [("unsubscribed", "api")]


@pytest.mark.parametrize(
    "told", [{}, {"state": ["subscribed"]}, {"marketing": {"state": "subscribed"}}, [], 7, True, None, "maybe"]
)
async def test_a_consent_that_cannot_be_read_costs_its_row_and_nothing_else(town: Town, told: Any) -> None:
    report = await take(town, row(marketing=told), {"user_id": "bob", "email": "bob@shop.example"})

    assert (report["imported"], codes(report)) == (1, ["consent_unknown"])


async def test_the_evidence_of_an_event_of_consent_is_kept(town: Town) -> None:
    said: dict[str, Any] = {"text": "I want news", "form": "footer", "email": ANN, "ip": "203.0.113.9"}
    await town.track("ann", "Consent Granted", **said)

    exported = (await town.admin("GET", "/v1/customers/ann/export")).json()["consents"]
    assert [said.items() <= each["evidence"].items() for each in exported] == [True]


async def test_a_double_opt_in_keeps_the_wording_that_it_showed(town: Town) -> None:
    await town.identify("ann", email=ANN)
    await town.consent("ann", "pending")
    await town.write_to("ann", "receipts")
    (mail,) = town.mails_to(ANN)
    shown = (await town.open(mail, "u")).text
    await town.open(mail, "u", action="save", subscribed="marketing")

    async with town.sending.database.read() as session:
        evidence = (await session.scalars(select(Consent.evidence).where(Consent.source == "double-opt-in"))).one()
    assert evidence["email"] == ANN
    for sentence in ("Choose what you would like to hear about.", "News and offers", "Save my choices"):
        assert sentence in evidence["text"]
        assert sentence in shown
