"""One message to an address that somebody names, to see a template in a real inbox: no gate, no tracking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.exc import IntegrityError

from activities.message_content import Content, Draft, new_addresses, render
from activities.message_records import outgoing_email, record_answer, start_attempt
from activities.pacing import Pacer, TurnedAway
from activities.providers import EmailProvider
from connectors.rendering import Renderer
from database.messages import Message, lock_message
from database.session import Database
from domain.consent import TRIAL
from domain.emails import OutgoingEmail
from domain.errors import Unavailable
from domain.messages import MessageState
from domain.shop_settings import ShopSettings
from domain.templates import Frame, TemplateDocument


@dataclass(frozen=True, slots=True)
class Trial:
    """One message to send; what bears the same id is sent once."""

    message_id: UUID
    template: TemplateDocument
    frame: Frame
    context: Mapping[str, Any]
    to: str
    purpose: str  # which it is rendered as
    languages: tuple[str, ...]
    settings: ShopSettings


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

    async def send(self, trial: Trial, as_of: datetime) -> None:
        """The message's state says what became of it. Raises TemplateFailed and Unavailable."""
        if await self._was_begun(trial.message_id):
            return
        addresses = new_addresses(trial.settings, self._public_url)
        draft = Draft(
            message_id=trial.message_id,
            purpose=trial.purpose,
            to=trial.to,
            template=trial.template,
            frame=trial.frame,
            languages=trial.languages,
            context={**trial.context, "links": addresses.links()},
            settings=trial.settings,
            addresses=addresses,
            is_tracked=False,
        )
        content = await render(self._renderer, draft)
        grant = await self._pacer.stand_in_line(trial.template.channel, self._provider.name, is_transactional=True)
        if isinstance(grant, TurnedAway):
            raise Unavailable("The provider's line is too long at this moment.", code=grant.code, retry_after=30)
        try:
            outgoing = await self._begin(trial, content, as_of)
        except IntegrityError:  # another request with this Idempotency-Key was faster
            async with self._database.transaction() as session:
                await self._pacer.give_back(session, grant)
            return
        answer = await self._provider.send(outgoing, as_of)
        await self._pacer.learn(grant, answer, as_of)
        async with self._database.transaction() as session:
            await self._pacer.answered(session, grant, answer)
            stored = await lock_message(session, trial.message_id)
            if stored is not None:
                await record_answer(session, stored, answer, called_at=as_of, as_of=as_of)

    async def _was_begun(self, message_id: UUID) -> bool:
        async with self._database.read() as session:
            return await session.get(Message, message_id) is not None

    async def _begin(self, trial: Trial, content: Content, as_of: datetime) -> OutgoingEmail:
        message = _row(trial, as_of)
        async with self._database.transaction() as session:
            session.add(message)
            await session.flush()
            await start_attempt(session, message, content, self._provider.name, as_of)
            return outgoing_email(message)


def _row(trial: Trial, as_of: datetime) -> Message:
    return Message(
        id=trial.message_id,
        customer_id=None,
        channel=trial.template.channel,
        purpose=TRIAL,
        template=trial.template.template,
        state=MessageState.CLAIMED,
        created_at=as_of,
        not_after=as_of,  # tried once
        attempts=[],
        headers={},
        resent=False,
    )
