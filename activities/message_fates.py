"""What becomes of a message next, by its row and by the provider's answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import assert_never

from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities.message_records import last_try, record_lost
from activities.steps import OpenStep
from database.messages import Message, lock_message_of_step
from database.session import WriteSession
from domain.consent import TRANSACTIONAL
from domain.messages import Hold, MessageState, Reason, Send, Skip
from domain.provider_answers import SETTLING_TIME, Deferred, ProviderAnswer, Unknown
from domain.provider_pace import next_try
from domain.runs import OutcomeKind, StepInput, StepOutcome


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Not now, which the run's workflow need not know: Temporal repeats the activity after `delay` or its back-off."""

    code: str
    delay: timedelta | None = None

    def error(self) -> ApplicationError:
        """As Temporal understands it."""
        return ApplicationError(
            "try again", type=self.code, next_retry_delay=self.delay, category=ApplicationErrorCategory.BENIGN
        )


def what_became_of(message: Message, opened: OpenStep) -> StepOutcome | TryAgain | None:
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


def after_answer(
    message: Message, opened: OpenStep, answer: ProviderAnswer, pause: timedelta | None
) -> StepOutcome | TryAgain:
    """How the step goes on. `pause`: how long the whole provider is left alone, None if the answer is no reason to."""
    if isinstance(answer, Deferred) and message.state == MessageState.CLAIMED:
        delay = next_try(answer, message.attempts, opened.at.as_of) if pause is None else pause
        return TryAgain(answer.code, min(delay, last_try(message) - opened.at.as_of))
    settled = what_became_of(message, opened)
    if settled is None:
        raise AssertionError("an answered message is settled")
    if isinstance(answer, Unknown) and isinstance(settled, TryAgain):
        return TryAgain(answer.code, settled.delay)
    return settled


def withhold(
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


def refuse(session: WriteSession, message: Message, reason: str) -> None:
    """Write that no provider can be given this message."""
    message.state, message.reason = MessageState.REJECTED, reason
    session.add(message)


async def cancel(session: WriteSession, at: StepInput, settled: StepOutcome) -> None:
    """The run is over: what was claimed for it and not attempted stays here."""
    if settled.kind is not OutcomeKind.EXITED:
        return
    message = await lock_message_of_step(session, at.run_id, at.step, at.visit)
    if message is not None and message.state in (MessageState.PLANNED, MessageState.CLAIMED):
        message.state, message.reason = MessageState.CANCELLED, Reason.RUN_ENDED


async def set_aside(session: WriteSession, at: StepInput, held: StepOutcome) -> None:
    """The effect waits, for how long nobody knows: what was claimed takes no place under the caps meanwhile."""
    message = await lock_message_of_step(session, at.run_id, at.step, at.visit)
    if held.kind is OutcomeKind.HELD and message is not None and message.state == MessageState.CLAIMED:
        message.state, message.reason = MessageState.PLANNED, held.reason


def _settle(message: Message, opened: OpenStep) -> StepOutcome | TryAgain | None:
    """An unknown: marketing is at most once, so the run goes on; transactional is sent again once, after a while."""
    if message.purpose != TRANSACTIONAL or message.resent:
        return opened.done(reason="unknown", message_id=str(message.id))
    settles = (message.attempting_at or opened.at.as_of) + SETTLING_TIME
    if opened.at.as_of < settles:
        return TryAgain("unsettled", settles - opened.at.as_of)
    message.state = MessageState.CLAIMED
    return None
