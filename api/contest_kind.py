"""What contests plug into the life cycle of documents: checks, and the secret that the first publication commits to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import ClassVar

from api.dependencies import ApiDependencies
from api.document_answers import PublishRequest
from database.challenges import surroundings
from database.contests import KIND, draw_of, known_contests, open_contest
from database.journey_checks import seen_facts
from database.programmes import live_programme
from database.session import ReadSession, WriteSession
from domain.challenges.checks import check_prize
from domain.conditions.checks import Place, Seen, check_event, check_where
from domain.conditions.inputs import comparisons_of
from domain.conditions.value_checks import check_value_event
from domain.contests.definition import ContestDefinition
from domain.document import Document
from domain.documents import Change, Planned, Publication, Published
from domain.errors import Conflict
from domain.findings import Finding
from domain.shares import asks_for_sentiment


class ContestKind:
    """Contests among the documents."""

    name: ClassVar[str] = KIND
    plural: ClassVar[str] = "contests"
    model: ClassVar[type[Document]] = ContestDefinition
    changes: ClassVar[frozenset[Change]] = frozenset(Change)
    changes_nature: ClassVar[bool] = False

    def __init__(self, dependencies: ApiDependencies) -> None:
        """A contest asks nothing of the application."""

    async def check(self, session: ReadSession, key: str, draft: Document) -> Sequence[Finding]:
        """What is wrong with a contest that could be read."""
        assert isinstance(draft, ContestDefinition)  # noqa: S101  `model` says so
        events = frozenset(rule.on.event for rule in draft.entries if rule.on is not None)
        findings = list(_of_rules(draft, await seen_facts(session, events)))
        around = await surroundings(session, has_programme=await live_programme(session) is not None)
        for position, prize in enumerate(draft.prizes):
            pointer = f"/prizes/{position}"
            findings += check_prize(prize, pointer, rewards=around.rewards, has_programme=around.has_programme)
        known = await known_contests(session, draft.exclude_winners_of)
        for position, other in enumerate(draft.exclude_winners_of):
            if other not in known:
                pointer, message = f"/exclude_winners_of/{position}", f"No contest {other!r} was ever published."
                findings.append(Finding(code="unknown_contest", pointer=pointer, message=message))
        return findings

    async def publish(
        self, session: WriteSession, publication: Publication, request: PublishRequest, as_of: datetime
    ) -> Published | Planned:
        """The version is the draft. Raises Conflict `contest_frozen` once the list is: rules no longer change."""
        row = await draw_of(session, publication.key)
        if row is not None and row.frozen_at is not None:
            raise Conflict("The list of this contest is frozen; its rules no longer change.", code="contest_frozen")
        if request.dry_run:
            return Planned({"plan": "", "version": publication.version, "changes": [], "in_flight": []})
        await open_contest(session, publication.key, as_of)
        return Published(publication.document)

    async def changed(self, session: WriteSession, key: str, change: Change, as_of: datetime) -> None:
        """Nothing follows: nobody enters a contest that is paused or archived."""


def _of_rules(draft: ContestDefinition, seen: Seen) -> Iterator[Finding]:
    for position, rule in enumerate(draft.entries):
        if rule.on is None:
            continue
        pointer = f"/entries/{position}/on"
        yield from check_event(rule.on.event, f"{pointer}/event", seen)
        yield from check_value_event(rule.on.event, f"{pointer}/event", seen)
        place = Place(pointer=f"{pointer}/where", in_run=False)
        yield from check_where(rule.on.where, rule.on.event, seen, place)
        if path := asks_for_sentiment([each.property for each in comparisons_of(rule.on.where)]):
            message = f"{path} is what somebody felt: the same entries for one star and five, and none for likes."
            yield Finding(code="pays_for_sentiment", pointer=pointer, message=message)
