"""What the row of a message says before, during and after an attempt."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, assert_never

import orjson

from activities.message_content import Content
from activities.steps import OpenStep
from database.messages import Message, add_links
from database.run_looks import wake_for_sent
from database.session import WriteSession
from database.suppressions import suppress
from domain.durations import parse_duration
from domain.emails import Outgoing, OutgoingEmail, OutgoingWebhook, sender_of
from domain.ids import new_id
from domain.journeys.steps import Send as SendBody
from domain.messages import ATTEMPT_LOST, LONGEST_TRY, MessageState, Reason
from domain.provider_answers import Accepted, Deferred, ProviderAnswer, Rejected, Unknown
from domain.refusals import Fault

_LONGEST_LOG: Final = 20
_KIND_OF_REFUSAL: Final = ("outcome", "error", "status", "fault")


def new_message(opened: OpenStep, send: SendBody, as_of: datetime) -> Message:
    """The row of a message that the step has just been reached for; not stored yet."""
    run, reached = opened.run, opened.row.reached_at
    return Message(
        id=new_id(),
        customer_id=opened.customer.id,
        channel=send.channel,
        purpose=opened.definition.purpose_of(send),
        template=send.template,
        journey=run.journey,
        journey_version=run.version,
        run_id=run.id,
        step=opened.at.step,
        visit=opened.at.visit,
        state=MessageState.PLANNED,
        not_after=None if send.not_after is None else parse_duration(send.not_after).after(reached),
        created_at=as_of,
        attempts=[],
        headers={},
        resent=False,
    )


async def start_attempt(
    session: WriteSession, message: Message, content: Content | None, provider: str, as_of: datetime
) -> None:
    """Write that the provider is about to be called, with what it will be given."""
    if content is not None:
        message.to, message.sender = content.to, content.sender
        message.subject, message.html, message.text = content.subject, content.html, content.text
        message.headers = dict(content.headers)
        await add_links(session, message.id, content.links)
    message.state, message.reason, message.rule = MessageState.ATTEMPTING, None, None
    message.provider, message.attempting_at = provider, as_of
    message.attempts = [*message.attempts, {"at": as_of.isoformat(), "outcome": "attempting"}]
    message.resent = _was_resent(message)


def take_back_attempt(message: Message) -> None:
    """The provider was not called: the message waits for its turn as it did before."""
    *before, _ = message.attempts
    message.state, message.attempts, message.attempting_at = MessageState.CLAIMED, before, message.called_at
    message.resent = _was_resent(message)


def is_attempting(message: Message, as_of: datetime) -> bool:
    """Whether the attempt that began at `as_of` is the message's latest and waits for its answer."""
    return message.state == MessageState.ATTEMPTING and message.attempting_at == as_of


def _was_resent(message: Message) -> bool:
    """Whether it was attempted again after an attempt of which nobody knows the end."""
    return any(each["outcome"] == MessageState.UNKNOWN for each in message.attempts[:-1])


def outgoing_of(message: Message) -> Outgoing:
    """What a provider is given for a message whose attempt has started."""
    if message.channel == "webhook":
        body = orjson.loads(message.text or "{}")
        return OutgoingWebhook(message_id=message.id, url=message.to or "", body=body, headers=message.headers)
    return outgoing_email(message)


def outgoing_email(message: Message) -> OutgoingEmail:
    """The same for an e-mail."""
    name, address = sender_of(message.sender or "")
    return OutgoingEmail(
        message_id=message.id,
        to=message.to or "",
        sender_name=name,
        sender_address=address,
        subject=message.subject or "",
        html=message.html or "",
        text=message.text or "",
        headers=message.headers,
        categories=tuple(filter(None, (message.journey, message.template))),
    )


async def record_answer(
    session: WriteSession, message: Message, answer: ProviderAnswer, *, called_at: datetime, as_of: datetime
) -> None:
    """Write what the provider said, unless its webhook was faster and has settled the message already."""
    message.called_at = called_at
    _note(message, answer, called_at, as_of)
    if message.state not in (MessageState.ATTEMPTING, MessageState.UNKNOWN):
        return
    match answer:
        case Accepted():
            message.state, message.accepted_at, message.reason = MessageState.ACCEPTED, as_of, None
            if message.customer_id is not None:
                await wake_for_sent(session, message.customer_id)
        case Rejected(code=code):
            message.state, message.reason, message.settled_at = MessageState.REJECTED, code, as_of
        case Deferred(code=code) if as_of >= last_try(message):
            message.state, message.reason, message.settled_at = MessageState.EXPIRED, Reason.NOT_AFTER, as_of
        case Deferred(code=code):
            message.state, message.reason = MessageState.CLAIMED, code
        case Unknown(code=code):
            message.state, message.reason = MessageState.UNKNOWN, code
        case _:
            assert_never(answer)
    if isinstance(answer, Rejected) and answer.fault is Fault.ADDRESS and message.to:
        await suppress(
            session, message.channel, [message.to], reason=Reason.HARD_BOUNCE, at=as_of, message_id=message.id
        )


def record_lost(message: Message) -> None:
    """Write that the process which attempted it died before it could write the answer."""
    message.state, message.reason = MessageState.UNKNOWN, ATTEMPT_LOST
    *before, last = message.attempts or [{}]
    message.attempts = [*before, last | {"outcome": "unknown", "error": ATTEMPT_LOST}]


def last_try(message: Message) -> datetime:
    """After this time the message is not tried again."""
    return message.not_after or message.created_at + LONGEST_TRY


def was_refused(message: Message) -> bool:
    """Whether one of the message's refusals looked like everybody's trouble."""
    return any(each["outcome"] == "deferred" and each.get("fault") == Fault.PROVIDER for each in message.attempts)


def _note(message: Message, answer: ProviderAnswer, called_at: datetime, as_of: datetime) -> None:
    """The last attempt's entry gets its outcome; the list is replaced, because JSON is compared by identity."""
    entry: dict[str, Any] = {  # JSON
        "outcome": type(answer).__name__.lower(),
        "called_at": called_at.isoformat(),
        "answered_at": as_of.isoformat(),
    }
    if isinstance(answer, Accepted):
        message.provider_id = answer.provider_id
    else:
        entry |= {"error": answer.code, "status": answer.status}
    if isinstance(answer, Rejected | Deferred):
        entry["fault"] = answer.fault
        entry |= {} if answer.field is None else {"field": answer.field}
    *before, last = message.attempts or [{}]
    message.attempts = _shortened([*before, last | entry])


def _shortened(attempts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of a long log, refusals of one kind in a row are one entry: the first, how often, and when it was last."""
    if len(attempts) <= _LONGEST_LOG:
        return attempts
    *before, earlier, last = attempts
    if last["outcome"] != "deferred" or any(earlier.get(name) != last.get(name) for name in _KIND_OF_REFUSAL):
        return attempts
    times = {"times": earlier.get("times", 1) + 1}
    return [*before, earlier | times | {name: last[name] for name in ("called_at", "answered_at")}]
