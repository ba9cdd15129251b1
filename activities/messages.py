"""Sending one message of a run: claim under the gate, render, stand in line, attempt, record.

`attempting` is committed before the provider is called and the answer after, so whatever crashes between leaves a trace
that says "perhaps sent", and nothing is re-sent blindly.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar, assert_never
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities.consents import settle_older_consents
from activities.message_content import Content, Draft, draft_for, render
from activities.message_gate import Pending, address_for, has_moved, pass_gate
from activities.message_records import last_try, new_message, outgoing_of, record_answer, record_lost, start_attempt
from activities.pacing import JITTER, Pacer
from activities.providers import Providers
from activities.steps import OpenStep, open_step
from connectors.rendering import Renderer
from database.messages import (
    Message,
    cancel_stranded,
    lock_message_of_step,
    mark_lost_attempts,
    settle_unknown,
)
from database.session import Database, WriteSession
from database.shop_settings import shop_settings
from database.templates import live_template
from domain.addresses import TRAIT_OF_CHANNEL
from domain.consent import TRANSACTIONAL
from domain.emails import Outgoing
from domain.errors import TemplateFailed, Unavailable
from domain.journeys.library import DefinitionLibrary
from domain.journeys.steps import Send as SendBody
from domain.journeys.steps import SendStep
from domain.messages import Hold, MessageState, Reason, Send, Skip
from domain.provider_answers import SETTLING_TIME, Deferred, ProviderAnswer, Unknown
from domain.refusals import Fault
from domain.runs import OutcomeKind, StepInput, StepOutcome

Answer = TypeVar("Answer")

ROUTING_PATIENCE: Final = timedelta(seconds=5)
"""How long an attempt waits for the customer's events to be routed before it gives its place to others."""
_LOST_AFTER = timedelta(minutes=10)
"""An attempt without an answer for so long has died: activities are given two minutes."""


@dataclass(frozen=True, slots=True)
class _Claimed:
    """The message has passed the gate. `draft` None: an earlier attempt has rendered it already."""

    message_id: UUID
    channel: str
    provider: str
    is_transactional: bool
    draft: Draft | None


@dataclass(frozen=True, slots=True)
class _TryAgain:
    """Not now, which the run's workflow need not know: Temporal repeats the activity after `delay` or its back-off."""

    code: str
    delay: timedelta | None = None

    def error(self) -> ApplicationError:
        return ApplicationError(
            "try again", type=self.code, next_retry_delay=self.delay, category=ApplicationErrorCategory.BENIGN
        )


class SettleInput(BaseModel):
    """When the upkeep of messages runs."""

    model_config = ConfigDict(frozen=True)

    as_of: datetime


class Settled(BaseModel):
    """How many messages the upkeep settled."""

    model_config = ConfigDict(frozen=True)

    lost: int
    unknown: int
    stranded: int
    consents: int = 0  # customers whose older consents got their addresses


class MessageActivities:
    """The step `send`, and the upkeep of what a crash left between two states."""

    def __init__(
        self,
        database: Database,
        library: DefinitionLibrary,
        renderer: Renderer,
        providers: Providers,
        pacer: Pacer,
        *,
        public_url: str,
        patience: timedelta = ROUTING_PATIENCE,
    ) -> None:
        self._database = database
        self._library = library
        self._renderer = renderer
        self._providers = providers
        self._pacer = pacer
        self._public_url = public_url
        self._patience = patience

    @activity.defn
    async def send(self, at: StepInput) -> StepOutcome:
        """One attempt at the step's message. Temporal repeats it until the message is settled, skipped or too late."""
        started, begun = _started_at(at), time.monotonic()

        def now() -> StepInput:
            """The step at this moment: business time as Temporal has it, going on while we work."""
            elapsed = timedelta(seconds=time.monotonic() - begun)
            return at.model_copy(update={"as_of": started + elapsed})

        claimed: _Claimed | StepOutcome | _TryAgain = await _when_routed(lambda: self._claim(now()), self._patience)
        if not isinstance(claimed, _Claimed):
            return _outcome(claimed)
        content = None
        if claimed.draft is not None:
            if not self._pacer.has_room(claimed.provider, is_transactional=claimed.is_transactional):
                raise await self._line_too_long(claimed)  # rather than render what is thrown away
            try:
                content = await render(self._renderer, claimed.draft)
            except TemplateFailed as error:
                return await self._fail(now(), error.code)
            except Unavailable as error:
                raise _TryAgain(error.code).error() from None  # starved or killed: no verdict on the template
        await self._stand_in_line(claimed)
        granted = time.monotonic()
        outgoing: Outgoing | StepOutcome | _TryAgain = await _when_routed(
            lambda: self._attempt(now, claimed, content), self._patience
        )
        if isinstance(outgoing, StepOutcome | _TryAgain):
            return _outcome(outgoing)
        await self._keep_pace(claimed, granted)
        answer = await self._providers.send(outgoing, now().as_of)
        return _outcome(await self._record(now(), claimed, answer))

    @activity.defn
    async def settle_messages(self, settle: SettleInput) -> Settled:
        """Settle what crashes left: attempts without an answer, unknowns nobody reported on, claims without a run."""
        async with self._database.transaction() as session:
            await session.take_long()
            lost = await mark_lost_attempts(session, settle.as_of - _LOST_AFTER)
            unknown = await settle_unknown(session, settle.as_of - SETTLING_TIME, settle.as_of)
            stranded = await cancel_stranded(session)
        consents = await settle_older_consents(self._database)
        return Settled(lost=lost, unknown=unknown, stranded=stranded, consents=consents)

    async def _claim(self, at: StepInput) -> _Claimed | StepOutcome | _TryAgain | Pending:
        """Pass the gate and reserve the message's place under the caps, all under the customer's lock."""
        async with self._database.transaction() as session:
            match await open_step(session, self._library, at):
                case OpenStep(step=SendStep(send=body)) as opened:
                    return opened.withheld or await self._claim_opened(session, opened, body)
                case StepOutcome() as settled:
                    await _cancel(session, at, settled)
                    return settled
                case OpenStep() as other:
                    raise other.unexpected()

    async def _claim_opened(
        self, session: WriteSession, opened: OpenStep, body: SendBody
    ) -> _Claimed | StepOutcome | _TryAgain | Pending:
        as_of = opened.at.as_of
        message = await lock_message_of_step(session, opened.run.id, opened.at.step, opened.at.visit)
        if message is not None and (earlier := _what_became_of(message, opened)) is not None:
            return earlier
        message = message or new_message(opened, body, as_of)
        live = await live_template(session, body.template)
        if live is None or live.document.channel != body.channel:
            _refuse(session, message, Reason.TEMPLATE_MISSING)
            return opened.failed(Reason.TEMPLATE_MISSING, template=body.template)
        settings = await shop_settings(session)
        provider = self._providers.name_for(body.channel)
        decision = await pass_gate(session, message, opened, settings, as_of, is_available=provider is not None)
        if isinstance(decision, Pending):
            return decision
        session.add(message)
        if message.to is None or body.channel in TRAIT_OF_CHANNEL:  # the address of now, however long it was held
            message.to = address_for(opened.customer, body.channel)
        if not isinstance(decision, Send) or provider is None:
            return _withhold(message, decision, opened)
        if message.state == MessageState.PLANNED:
            message.created_at = as_of
        message.state = MessageState.CLAIMED
        message.reason, message.rule, message.template_version = None, None, live.version
        draft = None
        if message.text is None:
            draft = await draft_for(
                *(session, message, opened.customer, opened.run),
                live=live,
                settings=settings,
                public_url=self._public_url,
                as_of=as_of,
            )
        return _Claimed(
            message_id=message.id,
            channel=body.channel,
            provider=provider,
            is_transactional=message.purpose == TRANSACTIONAL,
            draft=draft,
        )

    async def _stand_in_line(self, claimed: _Claimed) -> None:
        if not await self._pacer.stand_in_line(claimed.provider, is_transactional=claimed.is_transactional):
            raise await self._line_too_long(claimed)

    async def _line_too_long(self, claimed: _Claimed) -> ApplicationError:
        return _TryAgain("line_too_long", await self._pacer.retry_in(claimed.channel, claimed.provider)).error()

    async def _keep_pace(self, claimed: _Claimed, granted: float) -> None:
        """A grant is good for a moment only; whoever was held up on the way to the provider takes a fresh one."""
        while time.monotonic() - granted > JITTER.total_seconds():
            while not await self._pacer.stand_in_line(claimed.provider, is_transactional=True):
                pass  # it has waited its patience out; the next grant is ours
            granted = time.monotonic()

    async def _attempt(
        self, now: Callable[[], StepInput], claimed: _Claimed, content: Content | None
    ) -> Outgoing | StepOutcome | _TryAgain | Pending:
        """Pass the gate once more (minutes may have gone by in the line) and write that the attempt begins.

        It begins under the customer's lock and before the gate looks: whatever is acknowledged earlier, the gate sees.
        """
        async with self._database.transaction() as session:
            opened = await open_step(session, self._library, now())
            at = now()
            if isinstance(opened, StepOutcome):
                await _cancel(session, at, opened)
                return opened
            message = await lock_message_of_step(session, at.run_id, at.step, at.visit)
            if message is None or message.id != claimed.message_id:
                return _TryAgain("message_moved")
            if (earlier := _what_became_of(message, opened)) is not None:
                return earlier
            if opened.is_paused:
                message.state, message.reason = MessageState.PLANNED, "paused"
                return opened.held()
            settings = await shop_settings(session)
            if has_moved(message, opened.customer):
                return _TryAgain("address_changed")
            decision = await pass_gate(session, message, opened, settings, at.as_of, is_available=True)
            match decision:
                case Pending():
                    return decision
                case Send():
                    await start_attempt(session, message, content, claimed.provider, at.as_of)
                    return outgoing_of(message)
                case Hold() | Skip():
                    return _withhold(message, decision, opened, skipped=MessageState.CANCELLED)
                case _:
                    assert_never(decision)

    async def _record(self, at: StepInput, claimed: _Claimed, answer: ProviderAnswer) -> StepOutcome | _TryAgain:
        """Write the provider's answer, also when the run was exited meanwhile: the call has happened."""
        if isinstance(answer, Deferred) and answer.fault is Fault.PROVIDER and answer.not_before is not None:
            await self._pacer.pause(claimed.provider, answer.not_before - at.as_of)
        async with self._database.transaction() as session:
            opened = await open_step(session, self._library, at)
            message = await lock_message_of_step(session, at.run_id, at.step, at.visit)
            if message is None:  # erased meanwhile
                return StepOutcome(kind=OutcomeKind.EXITED, reason=Reason.ERASED)
            await record_answer(session, message, answer, at.as_of)
            if isinstance(opened, StepOutcome):
                return opened
            return _after_answer(message, opened, answer)

    async def _fail(self, at: StepInput, code: str) -> StepOutcome:
        """The template cannot be rendered for this customer: the message is lost, the run is not."""
        async with self._database.transaction() as session:
            opened = await open_step(session, self._library, at)
            message = await lock_message_of_step(session, at.run_id, at.step, at.visit)
            if message is not None and message.state == MessageState.CLAIMED:
                _refuse(session, message, code)
            return opened if isinstance(opened, StepOutcome) else opened.failed(code)


def _started_at(at: StepInput) -> datetime:
    """When this attempt began, by Temporal's clock; retries begin long after the workflow asked."""
    if not activity.in_activity():
        return at.as_of
    return max(at.as_of, activity.info().started_time.astimezone(UTC))


async def _when_routed(ask: Callable[[], Awaitable[Answer | Pending]], patience: timedelta) -> Answer | _TryAgain:
    """Ask until the customer's events are routed; a long wait is Temporal's."""
    until, delay = time.monotonic() + patience.total_seconds(), 0.02
    while isinstance(answer := await ask(), Pending):
        if time.monotonic() > until:
            return _TryAgain("events_pending", timedelta(seconds=2))
        await asyncio.sleep(delay)
        delay = min(delay * 2, 0.5)
    return answer


def _outcome(answer: StepOutcome | _TryAgain) -> StepOutcome:
    if isinstance(answer, _TryAgain):
        raise answer.error()
    return answer


def _what_became_of(message: Message, opened: OpenStep) -> StepOutcome | _TryAgain | None:
    """The answer for a message that an earlier attempt brought further; None when it is still to be sent."""
    match MessageState(message.state):
        case MessageState.PLANNED | MessageState.CLAIMED:
            return None
        case MessageState.ATTEMPTING:  # its process died between the call and the answer
            record_lost(message)
            return _settle(message, opened)
        case MessageState.UNKNOWN:
            return _settle(message, opened)
        case MessageState.ACCEPTED | MessageState.DELIVERED | MessageState.BOUNCED:
            return opened.done(message_id=str(message.id))
        case MessageState.REJECTED:
            return opened.failed(message.reason or "rejected", message_id=str(message.id))
        case MessageState.SKIPPED | MessageState.CANCELLED | MessageState.EXPIRED:
            return opened.skipped(message.reason or "skipped", message_id=str(message.id))


def _settle(message: Message, opened: OpenStep) -> StepOutcome | _TryAgain | None:
    """An unknown: marketing is at most once, so the run goes on; transactional is sent again once, after a while."""
    if message.purpose != TRANSACTIONAL or message.resent:
        return opened.done(reason="unknown", message_id=str(message.id))
    settles = (message.attempting_at or opened.at.as_of) + SETTLING_TIME
    if opened.at.as_of < settles:
        return _TryAgain("unsettled", settles - opened.at.as_of)
    message.state = MessageState.CLAIMED
    return None


def _withhold(
    message: Message, decision: Send | Hold | Skip, opened: OpenStep, *, skipped: MessageState = MessageState.SKIPPED
) -> StepOutcome:
    """Write why the message does not leave now, or never."""
    match decision:
        case Hold(until, reason, rule):
            message.state, message.reason, message.rule = MessageState.PLANNED, reason, dict(rule)
            zone = rule.get("zone")
            opened.row.reason = reason
            return opened.waiting(until, str(zone) if zone else None)
        case Skip(reason, rule):
            message.state = MessageState.EXPIRED if reason is Reason.NOT_AFTER else skipped
            message.reason, message.rule = reason, dict(rule)
            return opened.skipped(reason, message_id=str(message.id), **({"rule": dict(rule)} if rule else {}))
        case Send():
            raise AssertionError("a message that may leave is not withheld")
        case _:
            assert_never(decision)


def _refuse(session: WriteSession, message: Message, reason: str) -> None:
    message.state, message.reason = MessageState.REJECTED, reason
    session.add(message)


def _after_answer(message: Message, opened: OpenStep, answer: ProviderAnswer) -> StepOutcome | _TryAgain:
    if isinstance(answer, Deferred) and message.state == MessageState.CLAIMED:
        left = last_try(message) - opened.at.as_of
        delay = None if answer.not_before is None else answer.not_before - opened.at.as_of
        return _TryAgain(answer.code, None if delay is None else min(delay, left))
    settled = _what_became_of(message, opened)
    if settled is None:
        raise AssertionError("an answered message is settled")
    if isinstance(answer, Unknown) and isinstance(settled, _TryAgain):
        return _TryAgain(answer.code, settled.delay)
    return settled


async def _cancel(session: WriteSession, at: StepInput, settled: StepOutcome) -> None:
    """The run is over: what was claimed for it and not attempted stays here."""
    if settled.kind is not OutcomeKind.EXITED:
        return
    message = await lock_message_of_step(session, at.run_id, at.step, at.visit)
    if message is not None and message.state in (MessageState.PLANNED, MessageState.CLAIMED):
        message.state, message.reason = MessageState.CANCELLED, Reason.RUN_ENDED
