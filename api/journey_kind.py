"""What journeys plug into the life cycle of documents: checks, the plan of publishing, what pausing does to runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from api.dependencies import ApiDependencies
from api.document_answers import PublishRequest
from api.step_scopes import require_step_scopes
from database import documents
from database.journey_checks import surroundings
from database.publishing import finish_runs, move_runs, standing, wake_held_runs
from database.runs import Run, end_runs
from database.session import ReadSession, WriteSession
from database.thresholds import watch_thresholds
from domain.document import Document
from domain.documents import Change, DocumentState, Planned, Publication, Published
from domain.errors import Conflict
from domain.findings import Finding
from domain.journeys.checks import check_journey
from domain.journeys.definition import JourneyDefinition
from domain.journeys.identity import as_json, with_ids
from domain.journeys.plan import Plan, Policy, make_plan
from domain.published import read_published
from triggers.schedules import follow_archive, follow_pause, follow_publish


class JourneyKind:
    """Journeys among the documents."""

    name: ClassVar[str] = "journey"
    plural: ClassVar[str] = "journeys"
    model: ClassVar[type[Document]] = JourneyDefinition
    changes: ClassVar[frozenset[Change]] = frozenset(Change)

    def __init__(self, dependencies: ApiDependencies) -> None:
        self._allow_private_calls = dependencies.allow_private_calls

    async def check(self, session: ReadSession, key: str, draft: Document) -> Sequence[Finding]:
        """What is wrong with a journey that could be read."""
        assert isinstance(draft, JourneyDefinition)  # noqa: S101  `model` says so
        around = await surroundings(session, draft, allow_private_calls=self._allow_private_calls)
        return check_journey(draft, around)

    async def publish(
        self, session: WriteSession, publication: Publication, request: PublishRequest, as_of: datetime
    ) -> Published | Planned:
        """The version with all ids written out; the plan first wherever runs are in flight."""
        previous = publication.live_document and read_published(JourneyDefinition, publication.live_document)
        definition = with_ids(JourneyDefinition.model_validate(publication.document), previous or None)
        plan = make_plan(
            definition,
            previous or None,
            version=publication.version,
            standing=await standing(session, publication.key),
            policy=request.policy,
        )
        if request.dry_run or (request.plan is None and plan.in_flight):
            return Planned(plan.as_json())
        await require_step_scopes(session, publication.by, definition)
        _confirm(plan, request)
        await self._carry_out(session, publication, request, as_of)
        row = await documents.load(session, self.name, publication.key)
        is_paused = row is not None and row.state == DocumentState.PAUSED
        await follow_publish(session, definition, previous or None, is_paused=is_paused, as_of=as_of)
        await watch_thresholds(session, publication.key, definition.enter.thresholds)
        return Published(as_json(definition))

    async def changed(self, session: WriteSession, key: str, change: Change, as_of: datetime) -> None:
        """Effects ask whether their journey is paused. Resuming wakes what was held, archiving ends all runs."""
        definition = await _live_definition(session, key)
        match change:
            case Change.PAUSE:
                await follow_pause(session, definition, is_paused=True)
            case Change.RESUME:
                await wake_held_runs(session, key)
                await follow_pause(session, definition, is_paused=False)
            case Change.ARCHIVE:
                await end_runs(session, Run.journey == key, reason="archived", as_of=as_of)
                await follow_archive(session, definition)
                await watch_thresholds(session, key, ())

    async def _carry_out(
        self, session: WriteSession, publication: Publication, request: PublishRequest, as_of: datetime
    ) -> None:
        if moving := _steps(request, "move"):
            await move_runs(session, publication.key, moving, to=publication.version, as_of=as_of)
        if finishing := _steps(request, "finish"):
            await finish_runs(session, publication.key, finishing, as_of=as_of)


async def _live_definition(session: ReadSession, key: str) -> JourneyDefinition | None:
    """What is live, or was until this change; None for a draft that was never published."""
    row = await documents.load(session, JourneyKind.name, key)
    if row is None or row.live_version is None:
        return None
    version = await documents.version_of(session, JourneyKind.name, key, row.live_version)
    return None if version is None else read_published(JourneyDefinition, version.document)


def _confirm(plan: Plan, request: PublishRequest) -> None:
    if request.plan not in (None, plan.digest):
        raise Conflict("The draft or the live version has changed since this plan was made.", code="plan_changed")


def _steps(request: PublishRequest, policy: Policy) -> list[str]:
    return [step for step, wanted in request.policy.items() if wanted == policy]
