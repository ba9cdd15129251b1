"""The life cycle that all documents of marketers share: draft, check, publish, versions, pause, resume, archive.

What differs between kinds (journeys, templates, ...) is a `DocumentKind`; this file knows none of them. The router of a
kind is `document_router(Kind, read=Scope.X_READ, write=Scope.X_WRITE)`, to be included by the file of that noun.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar, Protocol

from fastapi import APIRouter, Depends, Path, Query, Request, Response, params

from api.auth import Caller, requires
from api.dependencies import ApiDependencies, AsOf, Dependencies, Reading, Writing
from api.document_answers import (
    ChangedAnswer,
    CheckAnswer,
    DocumentAnswer,
    DocumentSummary,
    PublishAnswer,
    PublishedAnswer,
    PublishPlan,
    PublishRequest,
    SavedAnswer,
    VersionAnswer,
)
from api.document_bodies import document_body, read_document
from api.documents_in_use import refuse_if_used
from api.etags import ETAG_HEADER, IfMatch, check_if_match
from api.pagination import Number, Page, PageRequest, Text, page, page_request
from api.routing import ApiRoute, only_asks
from database import documents
from database.audit import write_audit
from database.document_users import change_uses, hold_uses
from database.documents import DocumentRow
from database.session import WriteSession
from domain.document import Document
from domain.documents import (
    DOCUMENT_KEY,
    Change,
    DocumentState,
    Planned,
    Publication,
    Published,
    RunsReached,
    state_after,
    state_after_publishing,
)
from domain.drafts import Draft, read_draft
from domain.errors import ChecksFailed, Conflict, NotFound
from domain.findings import Finding, has_errors
from domain.keys import Scope, StoredKey

Key = Annotated[str, Path(pattern=DOCUMENT_KEY, description="The document's key.", examples=["abandoned-cart"])]
VersionNumber = Annotated[int, Path(ge=1, lt=2**31, description="The number of a version, from 1.")]


Guard = Callable[..., Awaitable[None]]
"""A dependency of FastAPI that raises when a key may not make a change."""


class DocumentKind(Protocol):
    """What the life cycle asks of one kind of document; made for each request from the application's dependencies.

    `name` is the kind's column and the member of the document that repeats its key ("journey"), `plural` its path
    ("journeys"), `model` reads a draft, `changes` says which of pause, resume and archive apply. `changes_nature`: a
    new version may be one that users of the last cannot use.
    """

    name: ClassVar[str]
    plural: ClassVar[str]
    model: ClassVar[type[Document]]
    changes: ClassVar[frozenset[Change]]
    changes_nature: ClassVar[bool]

    def __init__(self, dependencies: ApiDependencies) -> None: ...

    async def check(self, session: WriteSession, key: str, draft: Document) -> Sequence[Finding]:
        """What is wrong with a draft that could be read (an instance of `model`)."""
        ...

    async def publish(
        self, session: WriteSession, publication: Publication, request: PublishRequest, as_of: datetime
    ) -> Published | Planned:
        """The document to keep as the version; for a dry run the plan. Moves and ends runs in this transaction.

        Called only for drafts without errors. Raises Conflict when a plan was not confirmed or is no longer true, and
        Forbidden when the document does what the key may not do.
        """
        ...

    async def changed(self, session: WriteSession, key: str, change: Change, as_of: datetime) -> RunsReached | None:
        """Follows a pause, resume or archive in its transaction; answers what becomes of a journey's runs."""
        ...


def document_router(
    kind_of: type[DocumentKind], *, read: Scope, write: Scope, guards: Mapping[Change, Guard] | None = None
) -> APIRouter:
    """All routes of the life cycle for one kind, under `/v1/<plural>`. `guards`: what changes ask beyond `write`."""
    router = APIRouter(prefix=f"/v1/{kind_of.plural}", tags=[kind_of.plural], route_class=ApiRoute)
    _add_drafts(router, kind_of, read)
    _add_versions(router, kind_of, read)
    _add_saving(router, kind_of, write)
    _add_checking(router, kind_of, write)
    _add_publishing(router, kind_of, write)
    asked = guards or {}
    for change in sorted(kind_of.changes):
        _add_change(
            router, kind_of, change, [requires(write), *([Depends(guard)] if (guard := asked.get(change)) else [])]
        )
    return router


def _add_drafts(router: APIRouter, kind_of: type[DocumentKind], scope: Scope) -> None:
    name, guard = kind_of.name, [requires(scope)]

    @router.get("", dependencies=guard, summary=f"List {kind_of.plural}", operation_id=f"list_{kind_of.plural}")
    async def list_documents(
        session: Reading,
        wanted: Annotated[PageRequest, Depends(page_request)],
        state: Annotated[DocumentState | None, Query(description="Only those in this state.")] = None,
    ) -> Page[DocumentSummary]:
        after = wanted.after(Text)
        rows = await documents.page_of_documents(
            session, name, state=state, after=after[0] if after else None, limit=wanted.probe
        )
        return page(rows, wanted, DocumentSummary.of, lambda row: (row.key,))

    @router.get(
        "/{key}",
        dependencies=guard,
        summary=f"A {name} with its draft",
        responses=ETAG_HEADER,
        operation_id=f"get_{name}",
    )
    async def get_document(key: Key, session: Reading, response: Response) -> DocumentAnswer:
        row = _found(await documents.load(session, name, key), name, key)
        response.headers["ETag"] = f'"{row.etag}"'
        return DocumentAnswer.of(row)


def _add_versions(router: APIRouter, kind_of: type[DocumentKind], scope: Scope) -> None:
    name, guard = kind_of.name, [requires(scope)]

    @router.get(
        "/{key}/versions",
        dependencies=guard,
        summary="Its versions, latest first",
        operation_id=f"list_{name}_versions",
    )
    async def list_versions(
        key: Key, session: Reading, wanted: Annotated[PageRequest, Depends(page_request)]
    ) -> Page[VersionAnswer]:
        _found(await documents.load(session, name, key), name, key)
        before = wanted.after(Number)
        rows = await documents.page_of_versions(
            session, name, key, before=before[0] if before else None, limit=wanted.probe
        )
        return page(rows, wanted, VersionAnswer.of, lambda row: (row.version,))

    @router.get(
        "/{key}/versions/{version}", dependencies=guard, summary="One version", operation_id=f"get_{name}_version"
    )
    async def get_version(key: Key, version: VersionNumber, session: Reading) -> VersionAnswer:
        row = await documents.version_of(session, name, key, version)
        if row is None:
            raise NotFound(f"There is no version {version} of the {name} {key}.")
        return VersionAnswer.of(row)


def _add_saving(router: APIRouter, kind_of: type[DocumentKind], scope: Scope) -> None:
    name = kind_of.name

    @router.put(
        "/{key}",
        dependencies=[requires(scope)],
        summary="Save the draft",
        responses=ETAG_HEADER,
        openapi_extra=document_body(kind_of.model, name),
        operation_id=f"save_{name}",
    )
    async def save_draft(
        *,
        key: Key,
        request: Request,
        response: Response,
        session: Writing,
        caller: Caller,
        as_of: AsOf,
        dependencies: Dependencies,
        if_match: IfMatch = None,
    ) -> SavedAnswer:
        """Creates the document if it is new. A faulty draft is kept too, whatever its shape; `findings` says what is
        wrong with it.
        """
        draft = read_draft(kind_of.model, _with_key(await read_document(request), name, key))
        row = await documents.lock(session, name, key)
        check_if_match(if_match, row.etag if row else None)
        findings = await _findings(kind_of(dependencies), session, key, draft)
        row = await documents.save_draft(session, name, key, draft.written, as_of)
        write_audit(session, actor=caller.id, action="save", target=f"{name}/{key}", at=as_of)
        response.headers["ETag"] = f'"{row.etag}"'
        return SavedAnswer.of_saved(row, findings)


def _add_checking(router: APIRouter, kind_of: type[DocumentKind], scope: Scope) -> None:
    name = kind_of.name

    @router.post(
        "/{key}/check",
        dependencies=[requires(scope)],
        summary="Check a draft without saving it",
        openapi_extra=document_body(kind_of.model, name, required=False),
        operation_id=f"check_{name}",
    )
    @only_asks
    async def check_draft(key: Key, request: Request, session: Writing, dependencies: Dependencies) -> CheckAnswer:
        """Checks the draft in the body; with an empty body, the one that is saved."""
        if await request.body():
            written = _with_key(await read_document(request), name, key)
        else:
            written = _found(await documents.load(session, name, key), name, key).draft
        draft = read_draft(kind_of.model, written)
        return CheckAnswer.of(await _findings(kind_of(dependencies), session, key, draft))


def _add_publishing(router: APIRouter, kind_of: type[DocumentKind], scope: Scope) -> None:
    name = kind_of.name

    @router.post(
        "/{key}/publish", dependencies=[requires(scope)], summary="Make a version", operation_id=f"publish_{name}"
    )
    async def publish(
        *,
        key: Key,
        session: Writing,
        response: Response,
        caller: Caller,
        as_of: AsOf,
        dependencies: Dependencies,
        wish: PublishRequest | None = None,
        if_match: IfMatch = None,
    ) -> PublishAnswer:
        """Publishes the saved draft as an immutable version; a dry run answers the plan and changes nothing.

        409 `plan_required` publishes nothing: the journey has runs, and the answer holds the plan to confirm.
        """
        await (change_uses if kind_of.changes_nature else hold_uses)(session)
        row = _found(await documents.lock(session, name, key), name, key)
        check_if_match(if_match, row.etag)
        kind = kind_of(dependencies)
        findings = await _findings(kind, session, key, read_draft(kind_of.model, row.draft))
        if has_errors(findings):
            raise _checks_failed(findings)
        publication = await _publication(session, row, caller)
        runs: RunsReached | None = None
        match await kind.publish(session, publication, wish or PublishRequest(), as_of):
            case Planned(plan):
                return PublishPlan.model_validate(plan)
            case Published(document, runs):
                state = state_after_publishing(DocumentState(row.state))
                await documents.add_version(session, row, document=document, state=state, as_of=as_of, by=caller.id)
        detail = {"version": row.live_version}
        write_audit(session, actor=caller.id, action="publish", target=f"{name}/{key}", at=as_of, detail=detail)
        response.headers["ETag"] = f'"{row.etag}"'
        return PublishedAnswer.of_published(row, findings, runs)


def _add_change(
    router: APIRouter, kind_of: type[DocumentKind], change: Change, guard: Sequence[params.Depends]
) -> None:
    name = kind_of.name

    @router.post(
        f"/{{key}}/{change}",
        dependencies=guard,
        summary=f"{change.capitalize()} it",
        responses=ETAG_HEADER,
        operation_id=f"{change}_{name}",
    )
    async def change_state(
        *,
        key: Key,
        session: Writing,
        response: Response,
        caller: Caller,
        as_of: AsOf,
        dependencies: Dependencies,
        if_match: IfMatch = None,
    ) -> ChangedAnswer:
        if change is Change.ARCHIVE:
            await change_uses(session)
        row = _found(await documents.lock(session, name, key), name, key)
        check_if_match(if_match, row.etag)
        state, runs = state_after(change, DocumentState(row.state)), None
        if state != row.state:
            if change is Change.ARCHIVE:
                await refuse_if_used(session, name, key)
            await documents.set_state(session, row, state, as_of)
            runs = await kind_of(dependencies).changed(session, key, change, as_of)
            write_audit(session, actor=caller.id, action=change, target=f"{name}/{key}", at=as_of)
        response.headers["ETag"] = f'"{row.etag}"'
        return ChangedAnswer.of_changed(row, runs)


async def _findings(kind: DocumentKind, session: WriteSession, key: str, draft: Draft) -> Sequence[Finding]:
    return draft.findings if draft.document is None else await kind.check(session, key, draft.document)


async def _publication(session: WriteSession, row: DocumentRow, by: StoredKey) -> Publication:
    live = row.live_version and await documents.version_of(session, row.kind, row.key, row.live_version)
    return Publication(
        key=row.key,
        version=await documents.next_version(session, row.kind, row.key),
        document=row.draft,
        live_version=row.live_version,
        live_document=live.document if live else None,
        by=by,
    )


def _with_key(written: Mapping[str, Any], name: str, key: str) -> dict[str, Any]:  # any JSON object
    """The document with its key in it; the path has the last word, and a document that says otherwise is refused."""
    if written.get(name, key) != key:
        detail = f"The document says that it is the {name} {written[name]!r}, the path says {key!r}."
        raise Conflict(detail, code="key_mismatch")
    return {name: key, **written}


def _found(row: DocumentRow | None, name: str, key: str) -> DocumentRow:
    if row is None:
        raise NotFound(f"There is no {name} {key}.")
    return row


def _checks_failed(findings: Sequence[Finding]) -> ChecksFailed:
    errors = [finding for finding in findings if finding.severity == "error"]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    shown = [finding.model_dump(mode="json") for finding in findings]
    return ChecksFailed(f"{errors[0].message}{more}", members={"findings": shown})


__all__ = ["DocumentKind", "PublishRequest", "document_router"]
