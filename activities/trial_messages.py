"""One message to an address that somebody names, to see a template in a real inbox: no gate, no tracking."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from activities.message_content import Draft, new_addresses, render
from activities.message_records import outgoing_email, record_answer, start_attempt
from activities.pacing import Pacer
from activities.providers import EmailProvider
from connectors.rendering import Renderer
from database.messages import Message, lock_message
from database.session import Database
from domain.consent import TRIAL
from domain.errors import Unavailable
from domain.ids import new_id
from domain.messages import MessageState
from domain.shop_settings import ShopSettings
from domain.templates import TemplateDocument


class TrialSender:
    """Renders and sends at once, at the provider's rate like everything else."""

    def __init__(
        self, database: Database, renderer: Renderer, provider: EmailProvider, pacer: Pacer, *, public_url: str
    ) -> None:
        self._database = database
        self._renderer = renderer
        self._provider = provider
        self._pacer = pacer
        self._public_url = public_url

    async def send(
        self,
        template: TemplateDocument,
        layout: TemplateDocument | None,
        context: Mapping[str, Any],
        *,
        to: str,
        languages: tuple[str, ...],
        settings: ShopSettings,
        as_of: datetime,
    ) -> UUID:
        """Answers the message's id; its state says what became of it. Raises TemplateFailed and Unavailable."""
        addresses = new_addresses(settings, self._public_url)
        message = _row(template, as_of)
        draft = Draft(
            message_id=message.id,
            purpose=TRIAL,
            to=to,
            template=template,
            layout=layout,
            languages=languages,
            context={**context, "links": addresses.links()},
            settings=settings,
            addresses=addresses,
            is_tracked=False,
        )
        content = await render(self._renderer, draft)
        if not await self._pacer.stand_in_line(self._provider.name, is_transactional=True):
            raise Unavailable("The provider's line is too long at this moment.", code="line_too_long", retry_after=30)
        async with self._database.transaction() as session:
            session.add(message)
            await session.flush()
            await start_attempt(session, message, content, self._provider.name, as_of)
            outgoing = outgoing_email(message)
        answer = await self._provider.send(outgoing, as_of)
        async with self._database.transaction() as session:
            stored = await lock_message(session, message.id)
            if stored is not None:
                await record_answer(session, stored, answer, as_of)
        return message.id


def _row(template: TemplateDocument, as_of: datetime) -> Message:
    return Message(
        id=new_id(),
        customer_id=None,
        channel=template.channel,
        purpose=TRIAL,
        template=template.template,
        state=MessageState.CLAIMED,
        created_at=as_of,
        not_after=as_of,  # tried once
        attempts=[],
        headers={},
        resent=False,
    )
