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
from database.publishing import standing
from database.run_changes import Affected, NewRunChange, RunChangeKind, decide
from database.session import ReadSession, WriteSession
from database.thresholds import watch_thresholds
from domain.document import Document
from domain.documents import Change, DocumentState, Planned, Publication, Published, RunsReached
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
    changes_nature: ClassVar[bool] = False

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
        """The version with all ids written out; wherever runs are in flight their plan is confirmed."""
        previous = publication.live_document and read_published(JourneyDefinition, publication.live_document)
        definition = with_ids(JourneyDefinition.model_validate(publication.document), previous or None)
        plan = make_plan(
            definition,
            previous or None,
            version=publication.version,
            standing=await standing(session, publication.key),
            policy=request.policy,
        )
        if request.dry_run:
            return Planned(plan.as_json())
        await require_step_scopes(session, publication.by, definition)
        row = await documents.load(session, self.name, publication.key)
        state = None if row is None else row.state
        _refuse_unless_revived(publication.key, state, request)
        _confirm(plan, request)
        reached = await _decide_about_runs(session, publication, request, plan, as_of)
        is_paused = state == DocumentState.PAUSED
        await follow_publish(session, definition, previous or None, is_paused=is_paused, as_of=as_of)
        await watch_thresholds(session, publication.key, definition.enter.thresholds)
        return Published(as_json(definition), reached)

    async def changed(self, session: WriteSession, key: str, change: Change, as_of: datetime) -> RunsReached | None:
        """Effects ask whether their journey is paused. Resuming wakes what was held, archiving ends all runs."""
        definition = await _live_definition(session, key)
        match change:
            case Change.PAUSE:
                await follow_pause(session, definition, is_paused=True)
                return None
            case Change.RESUME:
                reached = await _wake(session, key, as_of)
                await follow_pause(session, definition, is_paused=False)
                return reached
            case Change.ARCHIVE:
                reached = await _archive(session, key, as_of)
                await follow_archive(session, definition)
                await watch_thresholds(session, key, ())
                return reached


async def _decide_about_runs(
    session: WriteSession, publication: Publication, request: PublishRequest, plan: Plan, as_of: datetime
) -> RunsReached:
    """What the confirmed plan says, of the runs of older versions."""
    key, to = publication.key, publication.version
    moved = finished = Affected(0, 0)
    if steps := _steps(request, "move"):
        moved = await decide(session, NewRunChange(key, RunChangeKind.MOVE, to, steps), as_of)
    if steps := _steps(request, "finish"):
        finished = await decide(session, NewRunChange(key, RunChangeKind.FINISH, to, steps), as_of)
    under_way = moved.left + finished.left
    stay = sum(at["runs"] for at in plan.in_flight) - moved.done - finished.done - under_way
    return RunsReached(stay=max(0, stay), moved=moved.done, finished=finished.done, under_way=under_way)


async def _wake(session: WriteSession, key: str, as_of: datetime) -> RunsReached:
    before = await documents.next_version(session, JourneyKind.name, key)
    woken = await decide(session, NewRunChange(key, RunChangeKind.WAKE, before), as_of)
    return RunsReached(woken=woken.done, under_way=woken.left)


async def _archive(session: WriteSession, key: str, as_of: datetime) -> RunsReached:
    before = await documents.next_version(session, JourneyKind.name, key)
    ended = await decide(session, NewRunChange(key, RunChangeKind.ARCHIVE, before), as_of)
    return RunsReached(finished=ended.done, under_way=ended.left)


async def _live_definition(session: ReadSession, key: str) -> JourneyDefinition | None:
    """What is live, or was until this change; None for a draft that was never published."""
    row = await documents.load(session, JourneyKind.name, key)
    if row is None or row.live_version is None:
        return None
    version = await documents.version_of(session, JourneyKind.name, key, row.live_version)
    return None if version is None else read_published(JourneyDefinition, version.document)


def _refuse_unless_revived(key: str, state: str | None, request: PublishRequest) -> None:
    """Somebody ended it for everybody in it; a push of all files, say, is not to bring it back unseen."""
    if state == DocumentState.ARCHIVED and not request.revive:
        detail = f'The journey {key} is archived. To bring it back, publish it with "revive": true.'
        raise Conflict(detail, code="archived")


def _confirm(plan: Plan, request: PublishRequest) -> None:
    if request.plan is None and plan.in_flight:
        detail = "Nothing was published: runs are in flight. Read the plan and confirm it by its digest, as `plan`."
        raise Conflict(detail, code="plan_required", members=plan.as_json())
    if request.plan not in (None, plan.digest):
        raise Conflict("The draft or the live version has changed since this plan was made.", code="plan_changed")


def _steps(request: PublishRequest, policy: Policy) -> list[str]:
    return [step for step, wanted in request.policy.items() if wanted == policy]
