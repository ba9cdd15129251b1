"""Messages of the webhook channel: posted to the shop's own systems, signed by the Standard Webhooks rules."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import assert_never

from connectors.webhook import Delivered, Refused, TryLater, Webhooks
from domain.emails import OutgoingWebhook
from domain.provider_answers import Accepted, Deferred, ProviderAnswer, Rejected


class WebhookChannel:
    """Our message id is the webhook's id, so a receiver recognises a repetition and none of them is ambiguous."""

    name = "webhook"

    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks

    async def send(self, webhook: OutgoingWebhook, as_of: datetime) -> ProviderAnswer:
        """Post one message."""
        answer = await self._webhooks.post(
            webhook.url,
            webhook.body,
            webhook_id=f"msg_{webhook.message_id.hex}",
            headers=webhook.headers,
            as_of=as_of,
        )
        match answer:
            case Delivered():
                return Accepted()
            case Refused(reason, status):
                return Rejected(reason, status)
            case TryLater(reason, status, after):
                return Deferred(reason, status, None if after is None else as_of + timedelta(seconds=after))
            case _:
                assert_never(answer)
