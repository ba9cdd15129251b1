"""Standing in line before a provider: one at a time in each process, transactional first, at one hard rate for all.

It is also here that what is everybody's trouble pauses a provider once, for all processes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from prometheus_client import Counter, Gauge

from activities.lines import Line
from database import provider_rates
from database.provider_rates import Granted, NotYet
from database.session import Database, WriteSession
from domain.provider_answers import Accepted, Deferred, ProviderAnswer
from domain.provider_pace import MANY_IN_DOUBT, Pace, is_lost, trouble_of
from domain.refusals import Fault

ILL = Gauge("perennial_provider_ill", "1 while a provider takes nothing, as this process last saw it", ["provider"])
TROUBLES = Counter("perennial_provider_troubles", "Answers that pause a provider for everybody", ["provider", "code"])

_MARKETING_PATIENCE = timedelta(seconds=2)
"""Short, so that the places of a worker keep changing hands and a transactional message finds one soon."""
_TRANSACTIONAL_PATIENCE = timedelta(seconds=30)
_SOON = timedelta(seconds=1)
_A_MOMENT = timedelta(milliseconds=500)


@dataclass(frozen=True, slots=True)
class Grant:
    """The provider may be called now, by whoever holds this and calls at once. `granted` None: it is not paced."""

    provider: str
    granted: Granted | None


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """The line is too long, or the provider takes nothing: come back after `delay`."""

    code: str
    delay: timedelta


class Pacer:
    """Grants calls. `rates`: messages a second by provider; a provider without one is not paced and never ill."""

    def __init__(self, database: Database, rates: Mapping[str, float]) -> None:
        self._database = database
        self._paces = {provider: Pace.of(rate) for provider, rate in rates.items()}
        # Who was refused before stands in a line apart, and holds up nobody who was not.
        self._lines = {(provider, was_refused): Line() for provider in rates for was_refused in (False, True)}
        self._troubles: dict[str, str] = {}
        # Messages refused again since this process last saw that the provider takes mail.
        self._refused_again: dict[str, set[UUID]] = {provider: set() for provider in rates}
        self._registered: set[str] = set()

    async def room(
        self, channel: str, provider: str, *, is_transactional: bool, was_refused: bool = False
    ) -> TurnedAway | None:
        """None if the line is short enough to stand in now. While a provider is ill one marketing message is enough."""
        if provider not in self._paces:
            return None
        ahead = self._lines[provider, was_refused].ahead(urgent=is_transactional)
        is_enough = provider in self._troubles and not is_transactional and ahead
        if not is_enough and ahead * self._paces[provider].spacing <= _patience(is_transactional=is_transactional):
            return None
        return await self._turned_away(channel, provider, is_transactional=is_transactional)

    async def stand_in_line(
        self, channel: str, provider: str, *, is_transactional: bool, was_refused: bool = False
    ) -> Grant | TurnedAway:
        """Wait for the next call of a provider. `was_refused`: for what looked like everybody's trouble."""
        if provider not in self._paces:
            return Grant(provider, None)
        away = await self.room(channel, provider, is_transactional=is_transactional, was_refused=was_refused)
        if away is not None:
            return away
        granted = await self._next(provider, is_transactional=is_transactional, was_refused=was_refused)
        if granted is None:
            return await self._turned_away(channel, provider, is_transactional=is_transactional)
        return Grant(provider, granted)

    async def give_back(self, session: WriteSession, grant: Grant) -> None:
        """The call is not made."""
        if grant.granted is not None:
            await provider_rates.free(session, grant.provider, grant.granted.place, after=timedelta())
            if grant.granted.is_probe:
                await provider_rates.probe_again(session, grant.provider)

    async def answered(self, session: WriteSession, grant: Grant, answer: ProviderAnswer) -> None:
        """The call is over: a second later its place is another's."""
        if grant.granted is None:
            return
        pace, place = self._paces[grant.provider], grant.granted.place
        if is_lost(answer) and pace.usual < pace.places:
            await provider_rates.lose(session, grant.provider, place)
        else:
            await provider_rates.free(session, grant.provider, place)

    def judged(self, grant: Grant, message_id: UUID, answer: ProviderAnswer, *, was_refused: bool) -> ProviderAnswer:
        """The answer, with the fault of the message where others got through what it alone did not.

        A message that `was_refused` for everybody's trouble made the provider ill, and while it is ill everybody
        probes. Whose call is no probe therefore comes after somebody got through, in whatever process. That stays so
        when nobody else is left to get through, unless many are refused in a row who were refused before.
        """
        if grant.granted is None:
            return answer
        again = self._refused_again[grant.provider]
        if isinstance(answer, Accepted):
            again.clear()
        if grant.granted.is_probe or not was_refused or not (isinstance(answer, Deferred) and answer.is_doubtful):
            return answer
        again.add(message_id)
        return answer if len(again) > MANY_IN_DOUBT else replace(answer, fault=Fault.MESSAGE)

    async def learn(self, grant: Grant, answer: ProviderAnswer, as_of: datetime) -> timedelta | None:
        """What the answer says about the provider itself. Answers how long it is left alone, None if it is not ill.

        In a transaction of its own: other processes wait for its row.
        """
        granted, trouble = grant.granted, trouble_of(answer, as_of)
        if granted is None or (trouble is None and not granted.is_probe):
            return None
        async with self._database.transaction() as session:
            if trouble is None:
                await provider_rates.recover(session, grant.provider)
                self._note(grant.provider, None)
                return None
            TROUBLES.labels(grant.provider, trouble.code).inc()
            self._note(grant.provider, trouble.code)
            pause = await provider_rates.fall_ill(session, grant.provider, granted, trouble)
            return _A_MOMENT if pause is None else max(pause, _A_MOMENT)

    async def _next(self, provider: str, *, is_transactional: bool, was_refused: bool) -> Granted | None:
        """None when patience has an end. Asking itself is not interrupted: what is granted then would be lost."""
        line, clock = self._lines[provider, was_refused], asyncio.get_running_loop()
        number = line.draw()
        until = clock.time() + _patience(is_transactional=is_transactional).total_seconds()
        while clock.time() < until:  # between two tries an urgent newcomer gets the turn
            async with AsyncExitStack() as turn:
                try:
                    async with asyncio.timeout_at(until):
                        await turn.enter_async_context(line.turn(number, urgent=is_transactional))
                except TimeoutError:
                    return None
                match await self._take(provider, is_transactional=is_transactional, was_refused=was_refused):
                    case Granted() as granted:
                        if not granted.is_probe:
                            self._note(provider, None)
                        return granted
                    case NotYet(wait, trouble):
                        self._note(provider, trouble)
                        await asyncio.sleep(wait.total_seconds())
        return None

    async def _take(self, provider: str, *, is_transactional: bool, was_refused: bool) -> Granted | NotYet:
        pace = self._paces[provider]
        if provider not in self._registered:
            async with self._database.transaction() as session:
                await provider_rates.register(session, provider, pace)
            self._registered.add(provider)
        async with self._database.transaction() as session:
            return await provider_rates.take(
                session, provider, pace=pace, is_transactional=is_transactional, was_refused=was_refused
            )

    async def _turned_away(self, channel: str, provider: str, *, is_transactional: bool) -> TurnedAway:
        """Come back when about half of the line will have gone, after five minutes at most; who is urgent at once."""
        is_ill = provider in self._troubles
        code = "provider_ill" if is_ill else "line_too_long"
        if is_transactional:
            return TurnedAway(code, _SOON)
        async with self._database.read() as session:
            waiting = await provider_rates.waiting(session, channel)
        half = waiting * self._paces[provider].spacing / 2
        return TurnedAway(code, min(max(half, 3 * _SOON if is_ill else _SOON), timedelta(minutes=5)))

    def _note(self, provider: str, trouble: str | None) -> None:
        if trouble is None:
            if self._troubles.pop(provider, None) is not None:
                self._refused_again[provider].clear()
        else:
            self._troubles[provider] = trouble
        ILL.labels(provider).set(trouble is not None)


def _patience(*, is_transactional: bool) -> timedelta:
    return _TRANSACTIONAL_PATIENCE if is_transactional else _MARKETING_PATIENCE
