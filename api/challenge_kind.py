"""What challenges plug into the life cycle of documents: their checks, and that members are counted again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from api.dependencies import ApiDependencies
from api.document_answers import PublishRequest
from database import documents
from database.challenge_errands import recount
from database.challenges import KIND, surroundings
from database.journey_checks import seen_facts
from database.leaderboard_closing import end_board
from database.programmes import live_programme
from database.session import ReadSession, WriteSession
from domain.challenges.checks import check_challenge
from domain.challenges.definition import ChallengeDefinition
from domain.document import Document
from domain.documents import Change, Planned, Publication, Published
from domain.findings import Finding


class ChallengeKind:
    """Challenges among the documents."""

    name: ClassVar[str] = KIND
    plural: ClassVar[str] = "challenges"
    model: ClassVar[type[Document]] = ChallengeDefinition
    changes: ClassVar[frozenset[Change]] = frozenset(Change)
    changes_nature: ClassVar[bool] = False

    def __init__(self, dependencies: ApiDependencies) -> None:
        """A challenge asks nothing of the application."""

    async def check(self, session: ReadSession, key: str, draft: Document) -> Sequence[Finding]:
        """What is wrong with a challenge that could be read."""
        assert isinstance(draft, ChallengeDefinition)  # noqa: S101  `model` says so
        seen = await seen_facts(session, draft.event_names)
        has_programme = await live_programme(session) is not None
        around = await surroundings(session, seen, has_programme=has_programme, key=key)
        return check_challenge(draft, around)

    async def publish(
        self, session: WriteSession, publication: Publication, request: PublishRequest, as_of: datetime
    ) -> Published | Planned:
        """The version is the draft. Whoever did something that it counts is counted again, unless nobody could have."""
        if request.dry_run:
            return Planned({"plan": "", "version": publication.version, "changes": [], "in_flight": []})
        definition = ChallengeDefinition.model_validate(publication.document)
        if publication.version > 1 or definition.from_ is not None:
            await recount(session, publication.key, publication.version, as_of)
        return Published(publication.document)

    async def changed(self, session: WriteSession, key: str, change: Change, as_of: datetime) -> None:
        """What was reached during a pause is given when it goes on; an archive ends what was compared."""
        if change is Change.ARCHIVE:
            await end_board(session, key, as_of)
        row = await documents.load(session, KIND, key)
        if change is Change.RESUME and row is not None and row.live_version is not None:
            await recount(session, key, row.live_version, as_of)
