"""The development provider: every e-mail is accepted and stays in our own database, where `/inbox` shows it."""

from __future__ import annotations

from datetime import datetime

from domain.emails import OutgoingEmail
from domain.provider_answers import Accepted


class OutboxProvider:
    """Accepts everything; the message's row already holds what there is to see."""

    name = "outbox"

    async def send(self, email: OutgoingEmail, as_of: datetime) -> Accepted:
        """Keep one e-mail."""
        return Accepted(provider_id=str(email.message_id))
