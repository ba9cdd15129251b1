"""Messages as the API answers them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel

from database.message_lists import ShownMessage
from database.messages import MessageEvent
from domain.messages import MessageState


class MessageAnswer(BaseModel):
    """One message in a list. `reason` says why it is in its state, `rule` which setting said so.

    `resent`: a transactional message that left once more, because nobody knew what had become of the attempt before.
    """

    id: UUID
    customer_id: str | None
    channel: str
    purpose: str
    template: str
    template_version: int | None
    journey: str | None
    journey_version: int | None
    run_id: UUID | None
    step: str | None
    visit: int | None
    campaign: str | None
    state: MessageState
    reason: str | None
    rule: dict[str, Any] | None  # any JSON
    to: str | None
    sender: str | None
    subject: str | None
    provider: str | None
    provider_id: str | None
    not_after: datetime | None
    created_at: datetime
    attempting_at: datetime | None
    called_at: datetime | None
    accepted_at: datetime | None
    settled_at: datetime | None
    resent: bool

    @classmethod
    def of(cls, shown: ShownMessage) -> Self:
        """From its row."""
        return cls.model_validate(_members(shown))


class Report(BaseModel):
    """What a provider or our own tracking reported; `actor` tells people from machines."""

    kind: str
    at: datetime
    actor: str | None
    provider: str
    detail: dict[str, Any]  # any JSON


class MessageDetail(MessageAnswer):
    """One message with its content and what became of it."""

    html: str | None
    text: str | None
    headers: dict[str, str]
    attempts: list[dict[str, Any]]  # {at, outcome, called_at?, answered_at?, status?, error?, fault?}
    events: list[Report]

    @classmethod
    def with_reports(cls, shown: ShownMessage, reports: Sequence[MessageEvent]) -> Self:
        """From its row and the reports about it."""
        message = shown.message
        return cls.model_validate(
            _members(shown)
            | {
                "html": message.html,
                "text": message.text,
                "headers": message.headers,
                "attempts": message.attempts,
                "events": [
                    Report(kind=each.kind, at=each.at, actor=each.actor, provider=each.provider, detail=each.detail)
                    for each in reports
                ],
            }
        )


def _members(shown: ShownMessage) -> dict[str, Any]:  # checked by the model that takes them
    members = {name: getattr(shown.message, name) for name in MessageAnswer.model_fields if name != "customer_id"}
    ours = shown.message.customer_id
    return members | {"customer_id": shown.external_id or (None if ours is None else str(ours))}
