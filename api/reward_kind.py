"""What rewards plug into the life cycle of documents: their checks. A version is the draft as it is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from api.dependencies import ApiDependencies
from api.document_answers import PublishRequest
from database.journey_checks import seen_facts
from database.rewards import KIND
from database.session import ReadSession, WriteSession
from domain.conditions.inputs import inputs_of, union_of
from domain.document import Document
from domain.documents import Change, Planned, Publication, Published
from domain.findings import Finding
from domain.rewards import RewardDefinition, check_reward, conditions_of


class RewardKind:
    """Rewards among the documents."""

    name: ClassVar[str] = KIND
    plural: ClassVar[str] = "rewards"
    model: ClassVar[type[Document]] = RewardDefinition
    changes: ClassVar[frozenset[Change]] = frozenset(Change)
    changes_nature: ClassVar[bool] = False

    def __init__(self, dependencies: ApiDependencies) -> None:
        self._allow_private_calls = dependencies.allow_private_calls

    async def check(self, session: ReadSession, key: str, draft: Document) -> Sequence[Finding]:
        """What is wrong with a reward that could be read."""
        assert isinstance(draft, RewardDefinition)  # noqa: S101  `model` says so
        read = union_of(inputs_of(condition) for condition, _ in conditions_of(draft))
        seen = await seen_facts(session, read.events, read.traits)
        return check_reward(draft, seen, allow_private_calls=self._allow_private_calls)

    async def publish(
        self, session: WriteSession, publication: Publication, request: PublishRequest, as_of: datetime
    ) -> Published | Planned:
        """What is redeemed from now on is this version; redemptions and coupons keep the one they were made of."""
        if request.dry_run:
            return Planned({"plan": "", "version": publication.version, "changes": [], "in_flight": []})
        return Published(publication.document)

    async def changed(self, session: WriteSession, key: str, change: Change, as_of: datetime) -> None:
        """Nothing follows: a paused or archived reward cannot be redeemed, and what was redeemed goes on."""
