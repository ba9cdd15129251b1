"""An ill provider is paused once for everybody, tried by one, and well again for all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import text

from database.provider_rates import Granted, NotYet, fall_ill, ill_providers, probe_again, recover, register, take
from database.session import Database, WriteSession
from domain.provider_pace import Pace, Trouble

PACE = Pace.of(20.0)
_CLOCK = text("SELECT coalesce(ill_since, clock_timestamp()) FROM provider_rates WHERE provider = 'p'")


@pytest.fixture
async def session(database: Database) -> AsyncIterator[WriteSession]:
    """A transaction in which the provider `p` is known."""
    async with database.transaction() as session:
        await register(session, "p", PACE)
        yield session


async def ask(session: WriteSession, *, after: float = 0, receipt: bool = True) -> Granted | NotYet:
    """Ask for a call so many seconds from now, or from when the provider fell ill, however busy the machine is."""
    now = await session.scalar(_CLOCK)
    return await take(session, "p", pace=PACE, is_transactional=receipt, now=now + timedelta(seconds=after))


async def grant(session: WriteSession, *, after: float = 0) -> Granted:
    granted = await ask(session, after=after)
    assert isinstance(granted, Granted)
    return granted


async def test_calls_that_find_a_provider_ill_together_pause_it_once(session: WriteSession) -> None:
    calls = [await grant(session, after=n) for n in range(3)]

    pauses = [await fall_ill(session, "p", each, Trouble("http_503")) for each in calls]

    assert [pause is not None for pause in pauses] == [True, False, False]
    assert isinstance(await ask(session), NotYet)
    (ill,) = await ill_providers(session)
    assert (ill.trouble, ill.failures) == ("http_503", 1)


async def test_one_message_at_a_time_finds_out_and_its_answer_lets_all_follow(session: WriteSession) -> None:
    await fall_ill(session, "p", await grant(session), Trouble("http_503"))

    probe = await grant(session, after=4)
    assert probe.is_probe
    assert isinstance(await ask(session, after=5), NotYet)
    await recover(session, "p")

    assert [(await grant(session, after=6 + n)).is_probe for n in range(3)] == [False, False, False]


async def test_pauses_grow_to_three_seconds_and_no_further(session: WriteSession) -> None:
    call = await grant(session)
    pauses = [await fall_ill(session, "p", call, Trouble("http_503"))]
    for n in range(1, 8):
        probe = await grant(session, after=20 * n)
        pauses.append(await fall_ill(session, "p", probe, Trouble("http_503")))

    assert [round(pause.total_seconds(), 1) for pause in pauses if pause] == [0.5, 1.0, 2.0, *[3.0] * 5]


async def test_what_an_old_call_says_after_the_recovery_is_no_news(session: WriteSession) -> None:
    old, other = await grant(session), await grant(session, after=1)
    await fall_ill(session, "p", other, Trouble("timeout"))
    await recover(session, "p")

    assert await fall_ill(session, "p", old, Trouble("timeout")) is None
    assert await ill_providers(session) == []


async def test_a_probe_whose_message_does_not_leave_is_anothers(session: WriteSession) -> None:
    await fall_ill(session, "p", await grant(session), Trouble("http_401"))
    await grant(session, after=4)

    await probe_again(session, "p")

    assert (await grant(session, after=5)).is_probe


async def test_a_receipt_finds_out_before_marketing_does(session: WriteSession) -> None:
    await fall_ill(session, "p", await grant(session), Trouble("http_503"))
    assert isinstance(await ask(session, after=0.4), NotYet)  # a receipt stands in line

    assert isinstance(await ask(session, after=0.6, receipt=False), NotYet)
    assert isinstance(await ask(session, after=0.6, receipt=True), Granted)
