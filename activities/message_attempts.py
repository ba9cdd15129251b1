"""Attempting a claimed message: stand in line, pass the gate once more, call the provider at once, write its answer.

Nothing waits between the gate and the call. `attempting` is committed before the provider is called and the answer
after, so whatever crashes between leaves a trace that says "perhaps sent", and nothing is re-sent blindly.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, assert_never

from sqlalchemy.exc import DBAPIError

from activities.message_claims import Claimed
from activities.message_content import Content
from activities.message_fates import TryAgain, after_answer, cancel, set_aside, what_became_of, withhold
from activities.message_gate import Pending, has_moved, pass_gate
from activities.message_records import is_attempting, outgoing_of, record_answer, start_attempt, take_back_attempt
from activities.pacing import Grant, Pacer, TurnedAway
from activities.providers import Providers
from activities.steps import open_step
from database import provider_rates
from database.messages import lock_message, lock_message_of_step
from database.outages import AWAY
from database.session import Database, WriteSession
from database.shop_settings import shop_settings
from domain.emails import Outgoing
from domain.journeys.library import DefinitionLibrary
from domain.messages import Hold, MessageState, Reason, Send, Skip
from domain.provider_answers import ProviderAnswer, Unknown
from domain.runs import OutcomeKind, StepInput, StepOutcome

Now = Callable[[], StepInput]
"""The step at this moment: business time as Temporal has it, going on while we work."""

STALE: Final = timedelta(milliseconds=500)
"""How long what the gate saw is good for; what is held up for longer before its call asks the gate anew."""
_LONGEST: Final = timedelta(seconds=45)
_LONGEST_CALL: Final = provider_rates.LONGEST_CALL - timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class _Begun:
    """`attempting` is committed. `at` is when the gate looked."""

    outgoing: Outgoing
    at: datetime
    not_after: datetime | None

    def is_fresh(self, as_of: datetime) -> bool:
        """Whether the provider may still be called by what the gate saw."""
        is_late = self.not_after is not None and as_of > self.not_after
        return not is_late and as_of - self.at <= STALE


@dataclass(frozen=True, slots=True)
class _Called:
    """A call that was made `at`, and its answer. `pause`: how long the whole provider is left alone because of it."""

    grant: Grant
    at: datetime
    answer: ProviderAnswer
    pause: timedelta | None


class Attempts:
    """Attempts the messages of steps."""

    def __init__(
        self, database: Database, library: DefinitionLibrary, providers: Providers, pacer: Pacer, *, patience: timedelta
    ) -> None:
        self._database = database
        self._library = library
        self._providers = providers
        self._pacer = pacer
        self._patience = patience

    async def room(self, claimed: Claimed) -> TryAgain | None:
        """None if the line before the provider is short enough to stand in now."""
        away = await self._pacer.room(
            claimed.channel,
            claimed.provider,
            is_transactional=claimed.is_transactional,
            was_refused=claimed.was_refused,
        )
        return None if away is None else TryAgain(away.code, away.delay)

    async def make(self, now: Now, claimed: Claimed, content: Content | None) -> StepOutcome | TryAgain:
        """One call of the provider, if the line and the gate let it through; who is held up goes through both again."""
        started, pending, delay = time.monotonic(), 0.0, 0.02
        while time.monotonic() - started < _LONGEST.total_seconds():
            grant = await self._pacer.stand_in_line(
                claimed.channel,
                claimed.provider,
                is_transactional=claimed.is_transactional,
                was_refused=claimed.was_refused,
            )
            if isinstance(grant, TurnedAway):
                return TryAgain(grant.code, grant.delay)
            begun = await self._begin_safely(now, claimed, content, grant)
            match begun:
                case _Begun():
                    as_of = now().as_of
                    if begun.is_fresh(as_of):
                        return await self._call(now, claimed, grant, begun, as_of)
                    await self._take_back(claimed, grant, begun)
                    content = None  # the row has it now
                case Pending() if pending > self._patience.total_seconds():
                    return TryAgain("events_pending", timedelta(seconds=2))
                case Pending():
                    await asyncio.sleep(delay)
                    pending, delay = pending + delay, min(delay * 2, 0.5)
                case StepOutcome() | TryAgain():
                    return begun
                case _:
                    assert_never(begun)
        return TryAgain("held_up", timedelta(seconds=1))

    async def _begin_safely(
        self, now: Now, claimed: Claimed, content: Content | None, grant: Grant
    ) -> _Begun | StepOutcome | TryAgain | Pending:
        """A grant that cannot be used is given back, so that others do not wait for it."""
        try:
            return await self._begin(now, claimed, content, grant)
        except BaseException:
            with suppress(DBAPIError, *AWAY):
                async with self._database.transaction() as session:
                    await self._pacer.give_back(session, grant)
            raise

    async def _begin(
        self, now: Now, claimed: Claimed, content: Content | None, grant: Grant
    ) -> _Begun | StepOutcome | TryAgain | Pending:
        """Pass the gate once more (minutes may have gone by in the line) and write that the attempt begins.

        It begins under the customer's lock and before the gate looks: whatever is acknowledged earlier, the gate sees.
        """
        async with self._database.transaction() as session:
            begun = await self._pass(session, now, claimed, content)
            if not isinstance(begun, _Begun):
                await self._pacer.give_back(session, grant)
            return begun

    async def _pass(
        self, session: WriteSession, now: Now, claimed: Claimed, content: Content | None
    ) -> _Begun | StepOutcome | TryAgain | Pending:
        opened = await open_step(session, self._library, now())
        at = now()
        if isinstance(opened, StepOutcome):
            await cancel(session, at, opened)
            return opened
        message = await lock_message_of_step(session, at.run_id, at.step, at.visit)
        if message is None or message.id != claimed.message_id:
            return TryAgain("message_moved", timedelta(seconds=1))
        if (earlier := what_became_of(message, opened)) is not None:
            return earlier
        if opened.stopped_by:
            held = opened.held()
            await set_aside(session, at, held)
            return held
        settings = await shop_settings(session)
        if has_moved(message, opened.customer):
            return TryAgain("address_changed", timedelta(seconds=1))
        decision = await pass_gate(session, message, opened, settings, at.as_of, is_available=True)
        match decision:
            case Pending():
                return decision
            case Send():
                await start_attempt(session, message, content, claimed.provider, at.as_of)
                return _Begun(outgoing_of(message), at.as_of, message.not_after)
            case Hold() | Skip():
                return withhold(message, decision, opened, skipped=MessageState.CANCELLED)
            case _:
                assert_never(decision)

    async def _take_back(self, claimed: Claimed, grant: Grant, begun: _Begun) -> None:
        """The provider was not called: as if the attempt had not begun."""
        async with self._database.transaction() as session:
            await self._pacer.give_back(session, grant)
            message = await lock_message(session, claimed.message_id)
            if message is not None and is_attempting(message, begun.at):
                take_back_attempt(message)

    async def _call(
        self, now: Now, claimed: Claimed, grant: Grant, begun: _Begun, called_at: datetime
    ) -> StepOutcome | TryAgain:
        answer: ProviderAnswer = Unknown("timeout")
        with suppress(TimeoutError):  # of ours: providers answer their own
            async with asyncio.timeout(_LONGEST_CALL.total_seconds()):
                answer = await self._providers.send(begun.outgoing, called_at)
        answer = self._pacer.judged(grant, claimed.message_id, answer, was_refused=claimed.was_refused)
        pause = await self._pacer.learn(grant, answer, now().as_of)
        called = _Called(grant, called_at, answer, pause)
        return await self._record(now(), claimed, called)

    async def _record(self, at: StepInput, claimed: Claimed, called: _Called) -> StepOutcome | TryAgain:
        """Write the provider's answer, also when the run was exited meanwhile: the call has happened."""
        async with self._database.transaction() as session:
            await self._pacer.answered(session, called.grant, called.answer)
            opened = await open_step(session, self._library, at)
            message = await lock_message_of_step(session, at.run_id, at.step, at.visit)
            if message is None or message.id != claimed.message_id:  # erased meanwhile
                return StepOutcome(kind=OutcomeKind.EXITED, reason=Reason.ERASED)
            await record_answer(session, message, called.answer, called_at=called.at, as_of=at.as_of)
            if isinstance(opened, StepOutcome):
                return opened
            return after_answer(message, opened, called.answer, called.pause)
