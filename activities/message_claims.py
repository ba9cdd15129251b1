"""Claiming a message: it passes the gate for the first time and takes its place under the caps."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from activities.message_content import Draft, draft_for
from activities.message_fates import TryAgain, cancel, refuse, set_aside, what_became_of, withhold
from activities.message_gate import Pending, address_for, pass_gate
from activities.message_records import new_message, was_refused
from activities.providers import Providers
from activities.steps import OpenStep, open_step
from database.messages import lock_message_of_step
from database.session import Database, WriteSession
from database.shop_settings import shop_settings
from database.templates import live_template
from domain.addresses import TRAIT_OF_CHANNEL
from domain.consent import TRANSACTIONAL
from domain.journeys.library import DefinitionLibrary
from domain.journeys.steps import Send as SendBody
from domain.journeys.steps import SendStep
from domain.messages import MessageState, Reason, Send
from domain.runs import StepInput, StepOutcome


@dataclass(frozen=True, slots=True)
class Claimed:
    """The message has passed the gate. `draft` None: an earlier attempt has rendered it already.

    `was_refused`: before, for what looked like everybody's trouble.
    """

    message_id: UUID
    channel: str
    provider: str
    is_transactional: bool
    draft: Draft | None
    was_refused: bool = False


class Claims:
    """Claims the messages of steps."""

    def __init__(
        self, database: Database, library: DefinitionLibrary, providers: Providers, *, public_url: str
    ) -> None:
        self._database = database
        self._library = library
        self._providers = providers
        self._public_url = public_url

    async def claim(self, at: StepInput) -> Claimed | StepOutcome | TryAgain | Pending:
        """Pass the gate and reserve the message's place under the caps, all under the customer's lock."""
        async with self._database.transaction() as session:
            match await open_step(session, self._library, at):
                case OpenStep(step=SendStep(send=body)) as opened:
                    if withheld := opened.withheld:
                        await set_aside(session, at, withheld)
                        return withheld
                    return await self._claim(session, opened, body)
                case StepOutcome() as settled:
                    await cancel(session, at, settled)
                    return settled
                case OpenStep() as other:
                    raise other.unexpected()

    async def _claim(
        self, session: WriteSession, opened: OpenStep, body: SendBody
    ) -> Claimed | StepOutcome | TryAgain | Pending:
        as_of = opened.at.as_of
        message = await lock_message_of_step(session, opened.run.id, opened.at.step, opened.at.visit)
        if message is not None and (earlier := what_became_of(message, opened)) is not None:
            return earlier
        message = message or new_message(opened, body, as_of)
        live = await live_template(session, body.template)
        if live is None or live.document.channel != body.channel:
            refuse(session, message, Reason.TEMPLATE_MISSING)
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
            return withhold(message, decision, opened)
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
        return Claimed(
            message_id=message.id,
            channel=body.channel,
            provider=provider,
            is_transactional=message.purpose == TRANSACTIONAL,
            draft=draft,
            was_refused=was_refused(message),
        )
