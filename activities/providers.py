"""Who carries messages out of the house, by channel. The providers themselves: connectors/."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, assert_never

from domain.emails import Outgoing, OutgoingEmail, OutgoingWebhook
from domain.provider_answers import ProviderAnswer


class EmailProvider(Protocol):
    """A way for e-mail out of the house. Answers, and raises nothing that it can foresee."""

    name: str

    async def send(self, email: OutgoingEmail, as_of: datetime) -> ProviderAnswer:
        """Hand one e-mail over."""
        ...


class WebhookProvider(Protocol):
    """The same for messages of the webhook channel."""

    name: str

    async def send(self, webhook: OutgoingWebhook, as_of: datetime) -> ProviderAnswer:
        """Post one message."""
        ...


@dataclass(frozen=True, slots=True)
class Providers:
    """Who carries which channel; push and sms are not set up."""

    email: EmailProvider
    webhook: WebhookProvider

    def name_for(self, channel: str) -> str | None:
        """The provider of a channel, None where there is none."""
        return {"email": self.email.name, "webhook": self.webhook.name}.get(channel)

    async def send(self, outgoing: Outgoing, as_of: datetime) -> ProviderAnswer:
        """Hand a message over to its channel's provider."""
        match outgoing:
            case OutgoingEmail():
                return await self.email.send(outgoing, as_of)
            case OutgoingWebhook():
                return await self.webhook.send(outgoing, as_of)
            case _:
                assert_never(outgoing)
