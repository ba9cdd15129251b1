"""What the loyalty programme plugs into the life cycle of documents: its checks, and that one is live at most."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from api.dependencies import ApiDependencies
from api.document_answers import PublishRequest
from database.challenge_errands import recount_waiting
from database.journey_checks import seen_facts
from database.outbox import CommandKind, NewCommand, add_commands
from database.programmes import KIND, claim_live, live_programme
from database.rewards import live_rewards
from database.session import ReadSession, WriteSession
from domain.document import Document
from domain.documents import Change, Planned, Publication, Published
from domain.findings import Finding
from domain.programmes.checks import check_gains, check_programme, read_by
from domain.programmes.definition import ProgrammeDefinition
from domain.upkeep import SETTLING


class ProgrammeKind:
    """Programmes among the documents."""

    name: ClassVar[str] = KIND
    plural: ClassVar[str] = "programmes"
    model: ClassVar[type[Document]] = ProgrammeDefinition
    changes: ClassVar[frozenset[Change]] = frozenset({Change.ARCHIVE})
    changes_nature: ClassVar[bool] = False

    def __init__(self, dependencies: ApiDependencies) -> None:
        """A programme asks nothing of the application."""

    async def check(self, session: ReadSession, key: str, draft: Document) -> Sequence[Finding]:
        """What is wrong with a programme that could be read."""
        assert isinstance(draft, ProgrammeDefinition)  # noqa: S101  `model` says so
        rewards = {reward.key for reward in await live_rewards(session)}
        read = read_by(draft)
        seen = await seen_facts(session, read.events, read.traits)
        return [*check_programme(draft, seen), *check_gains(draft, rewards)]

    async def publish(
        self, session: WriteSession, publication: Publication, request: PublishRequest, as_of: datetime
    ) -> Published | Planned:
        """The version is the draft; events are decided by the version that was live when they happened. The first one
        wakes levels of challenges that waited to give points.

        The pass of the hour is made at once: prizes and referrals may wait for a programme, too.
        """
        await claim_live(session, publication.key)
        if request.dry_run:
            return Planned({"plan": "", "version": publication.version, "changes": [], "in_flight": []})
        if await live_programme(session) is None:
            await recount_waiting(session, as_of)
        pass_id = f"loyalty/{publication.key}/{publication.version}"
        shown = {"summary": "What waited for a programme"}
        wake = NewCommand(CommandKind.START, pass_id, {"workflow": SETTLING, "input": {}, **shown})
        await add_commands(session, [wake])
        return Published(publication.document)

    async def changed(self, session: WriteSession, key: str, change: Change, as_of: datetime) -> None:
        """Nothing follows an archive: balances stay as they are, and nothing moves them until a programme is live."""
