"""The step `send`: one message of a run, claimed under the gate, rendered, attempted. And the upkeep of messages."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel, ConfigDict
from sqlalchemy.exc import DBAPIError
from temporalio import activity

from activities.consents import settle_older_consents
from activities.message_attempts import Attempts, Now
from activities.message_claims import Claimed, Claims
from activities.message_content import render
from activities.message_fates import TryAgain, refuse
from activities.pacing import Pacer
from activities.providers import Providers
from activities.routing_patience import ROUTING_PATIENCE, when_routed
from activities.steps import open_step
from connectors.rendering import Renderer
from database.messages import cancel_stranded, lock_message_of_step, mark_lost_attempts, settle_unknown
from database.outages import AWAY, is_outage
from database.session import Database
from domain.errors import TemplateAborted, TemplateFailed, Unavailable
from domain.journeys.library import DefinitionLibrary
from domain.messages import MessageState
from domain.provider_answers import SETTLING_TIME
from domain.runs import StepInput, StepOutcome

_LOST_AFTER = timedelta(minutes=10)
"""An attempt without an answer for so long has died: activities are given two minutes."""
_RENDERER_AGAIN = timedelta(seconds=2)
_DATABASE_AGAIN = timedelta(seconds=5)


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
        self._claims = Claims(database, library, providers, public_url=public_url)
        self._attempts = Attempts(database, library, providers, pacer, patience=patience)
        self._patience = patience

    @activity.defn
    async def send(self, at: StepInput) -> StepOutcome:
        """One attempt at the step's message. Temporal repeats it until the message is settled, skipped or too late."""
        try:
            answer = await self._send(_clock(at))
        except (DBAPIError, *AWAY) as error:
            if not is_outage(error):
                raise
            answer = TryAgain("database_away", _DATABASE_AGAIN)  # no trouble of this message
        if isinstance(answer, TryAgain):
            raise answer.error()
        return answer

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

    async def _send(self, now: Now) -> StepOutcome | TryAgain:
        claimed: Claimed | StepOutcome | TryAgain = await when_routed(lambda: self._claims.claim(now()), self._patience)
        if not isinstance(claimed, Claimed):
            return claimed
        if claimed.draft is None:
            return await self._attempts.make(now, claimed, None)
        if (away := await self._attempts.room(claimed)) is not None:
            return away  # rather than render what is thrown away
        try:
            content = await render(self._renderer, claimed.draft)
        except TemplateAborted as refusal:
            return await self._skip(now(), refusal.detail)
        except TemplateFailed as error:
            return await self._fail(now(), error.code)
        except Unavailable as error:  # starved or killed: no verdict on the template
            return TryAgain(error.code, _RENDERER_AGAIN)
        return await self._attempts.make(now, claimed, content)

    async def _skip(self, at: StepInput, reason: str) -> StepOutcome:
        """The template refuses to be sent to this customer now."""
        async with self._database.transaction() as session:
            opened = await open_step(session, self._library, at)
            message = await lock_message_of_step(session, at.run_id, at.step, at.visit)
            if message is not None and message.state == MessageState.CLAIMED:
                message.state, message.reason = MessageState.SKIPPED, reason
            return opened if isinstance(opened, StepOutcome) else opened.skipped(reason)

    async def _fail(self, at: StepInput, code: str) -> StepOutcome:
        """The template cannot be rendered for this customer: the message is lost, the run is not."""
        async with self._database.transaction() as session:
            opened = await open_step(session, self._library, at)
            message = await lock_message_of_step(session, at.run_id, at.step, at.visit)
            if message is not None and message.state == MessageState.CLAIMED:
                refuse(session, message, code)
            return opened if isinstance(opened, StepOutcome) else opened.failed(code)


def _clock(at: StepInput) -> Now:
    """Business time from when this attempt began; retries begin long after the workflow asked.

    Temporal's clock may be ahead of ours (in tests by hours), and a task that waited for its worker began before now.
    """
    started, begun = at.as_of, time.monotonic()
    if activity.in_activity():
        started = max(at.as_of, activity.info().started_time.astimezone(UTC), datetime.now(UTC))

    def now() -> StepInput:
        elapsed = timedelta(seconds=time.monotonic() - begun)
        return at.model_copy(update={"as_of": started + elapsed})

    return now
