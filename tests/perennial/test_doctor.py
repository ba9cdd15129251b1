"""The doctor finds what breaks a guarantee, and nothing in data that keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from database.customers import Customer
from database.events import append
from database.messages import Message, add_message_events
from database.pools import COMMAND
from database.provider_rates import Granted, fall_ill, register
from database.refused_merges import refuse_merges
from database.runs import Run
from database.session import Database
from database.shop_settings import save_shop_settings
from database.suppressions import suppress
from database.unread_reports import note_unread
from domain.events import EventKind, NewEvent
from domain.identity_resolution import Refusal, Refused
from domain.ids import new_id
from domain.provider_pace import Pace, Trouble
from domain.shop_settings import FrequencyCap, Sender, ShopSettings
from perennial.doctor import Verdict, examine

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


async def broken(database: Database) -> list[Verdict]:
    verdicts = await examine(database, NOW, email_per_second=2, provider="smtp")
    return [verdict for verdict in verdicts if not verdict.is_kept]


async def a_customer(database: Database) -> UUID:
    customer_id = new_id()
    async with database.transaction() as session:
        session.add(Customer(id=customer_id, traits={}, first_seen=NOW, last_seen=NOW))
    return customer_id


async def sent(database: Database, customer_id: UUID, at: Sequence[datetime], **columns: Any) -> None:
    given = {"channel": "email", "purpose": "marketing", "template": "t", "state": "accepted", "provider": "smtp"}
    async with database.transaction() as session:
        for moment in at:
            attempt = {"at": moment.isoformat(), "called_at": moment.isoformat(), "outcome": "accepted"}
            times = {"created_at": moment, "attempting_at": moment, "called_at": moment, "attempts": [attempt]}
            session.add(Message(**({"id": new_id(), "customer_id": customer_id} | given | times | columns)))


async def test_new_deployment_keeps_every_promise(database: Database) -> None:
    assert await broken(database) == []


async def test_a_check_that_takes_too_long_is_left_out_and_the_others_are_made(
    database: Database, database_url: str
) -> None:
    hurried = Database(database_url, pool=COMMAND.changed("statement=3"))
    async with database.transaction() as session:
        await session.execute(text("LOCK TABLE coupons IN ACCESS EXCLUSIVE MODE"))
        verdicts = await examine(hurried, NOW, email_per_second=2, provider="smtp")
    await hurried.close()

    left_out = {verdict.promise for verdict in verdicts if verdict.skipped}
    assert left_out == {
        "a code has one owner",
        "uses and holds of a code stay within its limit",
        "gift cards got back their share of what was refunded",
    }


async def test_events_are_found_when_deduplication_has_forgotten_them(database: Database) -> None:
    event = NewEvent(
        id=new_id(),
        source="shop",
        message_id="m-1",
        kind=EventKind.TRACK,
        name="Order Completed",
        user_id="ann",
        timestamp=NOW,
        received_at=NOW,
        trusted=True,
    )
    async with database.transaction() as session:
        await append(session, [event])
        await session.execute(text("DELETE FROM event_keys"))

    (verdict,) = await broken(database)

    assert verdict.promise == "every event is known to de-duplication"
    assert verdict.offenders == [str(event.id)]


async def test_marketing_message_that_was_accepted_twice_is_found(database: Database) -> None:
    attempts = [{"outcome": "unknown"}, {"outcome": "accepted"}]
    await sent(database, await a_customer(database), [NOW], attempts=attempts)

    (verdict,) = await broken(database)

    assert verdict.guarantee == "G13"


async def test_transactional_message_sent_again_after_an_unknown_attempt_is_fine(database: Database) -> None:
    attempts = [{"outcome": "unknown"}, {"outcome": "accepted"}]
    await sent(database, await a_customer(database), [NOW], attempts=attempts, purpose="transactional", resent=True)

    assert await broken(database) == []


async def test_second_with_too_many_attempts_is_found(database: Database) -> None:
    crowd = [NOW + timedelta(milliseconds=milliseconds) for milliseconds in (0, 400, 900)]
    await sent(database, await a_customer(database), crowd)

    (verdict,) = await broken(database)

    assert (verdict.guarantee, verdict.offenders) == ("G16", ["smtp: 3 in one second"])


async def test_attempts_a_full_second_apart_keep_the_rate(database: Database) -> None:
    await sent(database, await a_customer(database), [NOW + timedelta(seconds=half / 2) for half in range(6)])

    assert await broken(database) == []


@pytest.mark.parametrize(("days_apart", "is_over"), [(1, True), (8, False)])
async def test_passed_frequency_cap_is_found(database: Database, days_apart: int, is_over: bool) -> None:
    settings = ShopSettings(frequency_caps=[FrequencyCap(at_most=1, per="7d")])
    async with database.transaction() as session:
        await save_shop_settings(session, settings, NOW - timedelta(days=30))
    await sent(database, await a_customer(database), [NOW - timedelta(days=days_apart), NOW])

    assert [verdict.promise for verdict in await broken(database)] == ["no frequency cap was passed"] * is_over


async def test_mail_after_its_time_is_found(database: Database) -> None:
    await sent(database, await a_customer(database), [NOW], not_after=NOW - timedelta(seconds=1))

    (verdict,) = await broken(database)

    assert verdict.guarantee == "G18"


async def test_a_call_that_began_too_late_is_found_though_it_was_decided_in_time(database: Database) -> None:
    late = {"called_at": NOW + timedelta(seconds=2), "not_after": NOW + timedelta(seconds=1)}
    await sent(database, await a_customer(database), [NOW], **late)

    (verdict,) = await broken(database)

    assert verdict.guarantee == "G18"


@pytest.mark.parametrize(("seconds", "is_late"), [(0.4, False), (5, True)])
async def test_a_call_that_began_after_the_run_had_ended_is_found(
    database: Database, seconds: float, is_late: bool
) -> None:
    values = {"journey": "cart", "version": 1, "occasion": "o", "seen_number": 0, "entry": {}, "workflow_id": "j/1"}
    ended = {"state": "exited", "reason": "Order Completed", "shadow": False, "entered_at": NOW, "ended_at": NOW}
    run_id, customer_id = new_id(), await a_customer(database)
    async with database.transaction() as session:
        session.add(Run(id=run_id, customer_id=customer_id, **values, **ended))
    claimed = NOW - timedelta(minutes=1)
    await sent(database, customer_id, [claimed], run_id=run_id, called_at=NOW + timedelta(seconds=seconds))

    assert [verdict.guarantee for verdict in await broken(database)] == ["G12"] * is_late


async def test_a_provider_that_takes_nothing_is_shown_and_breaks_no_promise(database: Database) -> None:
    async with database.transaction() as session:
        await register(session, "smtp", Pace.of(2))
        await fall_ill(session, "smtp", Granted(NOW, 1, is_probe=False), Trouble("smtp_535"))

    verdicts = await examine(database, NOW, email_per_second=2, provider="smtp")

    (shown,) = [verdict for verdict in verdicts if verdict.promise == "providers take messages"]
    assert (shown.is_kept, shown.offenders[0].startswith("smtp: smtp_535 since ")) == (True, True)


async def test_refused_merges_are_shown_with_both_ids_and_break_no_promise(database: Database) -> None:
    refusal = Refusal(new_id(), await a_customer(database), "ann", "constant", Refused.LIMIT)
    async with database.transaction() as session:
        await refuse_merges(session, [refusal, refusal], NOW)

    verdicts = await examine(database, NOW, email_per_second=2, provider="smtp")

    (shown,) = [verdict.offenders for verdict in verdicts if verdict.promise == "no merge of customers was refused"]
    assert shown == ["constant into ann: merge_limit, 2 times, last 2026-11-21"]
    assert await broken(database) == []


async def test_addresses_suppressed_for_a_full_mailbox_by_an_earlier_release_are_shown(database: Database) -> None:
    customer_id = await a_customer(database)
    said: list[tuple[list[dict[str, Any]], dict[str, str] | None]] = [
        ([{"outcome": "accepted"}], {"type": "bounce", "status": "5.2.2", "reason": "552 5.2.2 mailbox full"}),
        ([{"outcome": "accepted"}], {"type": "bounce", "status": "5.1.1"}),
        ([{"outcome": "rejected", "status": 550, "fault": "address"}], None),
        ([{"outcome": "rejected", "status": 550}], None),
    ]
    ids = [new_id() for _ in said]
    for message_id, (attempts, _) in zip(ids, said, strict=True):
        await sent(database, customer_id, [NOW - timedelta(days=1)], id=message_id, attempts=attempts)
    async with database.transaction() as session:
        for message_id, (_, report) in zip(ids, said, strict=True):
            address = f"{message_id}@example.com"
            await suppress(session, "email", [address], reason="hard_bounce", at=NOW, message_id=message_id)
            if report is not None:
                told = {"kind": "bounced", "actor": None, "at": NOW, "detail": report, "message_id": message_id}
                row = told | {"provider": "sendgrid", "provider_event_id": str(message_id)}
                await add_message_events(session, [row])

    (verdict,) = [each for each in await broken(database) if "hard bounce" in each.promise]

    *doubted, what_to_do = verdict.offenders
    assert {each.rpartition(" ")[2] for each in doubted} == {str(ids[0]), str(ids[3])}
    assert "perennial suppressions release" in what_to_do


async def test_a_sender_that_stops_mail_is_found(database: Database) -> None:
    async with database.transaction() as session:
        await save_shop_settings(session, ShopSettings(sender=Sender(email="grüße@shop.example")), NOW)

    (verdict,) = await broken(database)

    assert verdict.promise == "the sender can stand in every mail"
    assert [each.partition(":")[0] for each in verdict.offenders] == ["email"]


async def test_webhook_items_that_could_not_be_read_are_shown(database: Database) -> None:
    await note_unread(database, "sendgrid", {"malformed_json": 2}, NOW - timedelta(days=2))
    await note_unread(database, "sendgrid", {"malformed_json": 1}, NOW)

    (verdict,) = [
        each for each in await examine(database, NOW, email_per_second=10, provider="x") if "webhooks" in each.promise
    ]

    assert verdict.offenders == ["sendgrid: malformed_json, 3 times since 2026-11-19, last 11-21"]
    assert verdict.is_kept


async def test_runs_that_an_earlier_release_failed_after_a_restore_are_named(database: Database) -> None:
    values = {
        "journey": "cart",
        "version": 1,
        "occasion": "o",
        "seen_number": 0,
        "entry": {},
        "workflow_id": "journey/1",
    }
    ended = {"state": "failed", "reason": "workflow_closed", "shadow": False, "entered_at": NOW, "ended_at": NOW}
    run_id, customer_id = new_id(), await a_customer(database)
    async with database.transaction() as session:
        session.add(Run(id=run_id, customer_id=customer_id, **values, **ended))

    (verdict,) = await broken(database)

    assert (verdict.guarantee, verdict.offenders) == ("G29", [f"{run_id} (journey/1)"])
