"""Documents that marketers edit (journeys, templates, later segments, ...): one draft each, immutable versions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ForeignKeyConstraint, Index, PrimaryKeyConstraint, Select, Text, cast, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Created, Json, Table
from database.session import ReadSession, WriteSession
from domain.documents import DocumentState, tag_of


class DocumentRow(Table):
    """One document under its kind and key."""

    __tablename__ = "documents"

    kind: Mapped[str]  # journey | template | ...
    key: Mapped[str]
    draft: Mapped[Json]
    state: Mapped[str]  # draft | live | paused | archived
    live_version: Mapped[int | None]
    etag: Mapped[str]  # of the draft, state and live version
    created_at: Mapped[Created]
    updated_at: Mapped[datetime]

    __table_args__ = (PrimaryKeyConstraint("kind", "key"), Index("ix_documents_state", "kind", "state"))


class DocumentVersion(Table):
    """An immutable version; for a journey with every step's id written out."""

    __tablename__ = "document_versions"

    kind: Mapped[str]
    key: Mapped[str]
    version: Mapped[int]
    document: Mapped[Json]
    published_at: Mapped[datetime]
    published_by: Mapped[str | None]

    __table_args__ = (
        PrimaryKeyConstraint("kind", "key", "version"),
        ForeignKeyConstraint(["kind", "key"], ["documents.kind", "documents.key"]),
    )


class DocumentChange(Table):
    """One row a kind, bumped in the transaction of every publish, pause, resume and archive: what caches compare."""

    __tablename__ = "document_changes"

    kind: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(server_default=text("0"))


class LiveDocument(NamedTuple):
    """The version of a document that counts now."""

    key: str
    version: int
    state: DocumentState  # live or paused
    document: str  # JSON


async def load(session: ReadSession, kind: str, key: str) -> DocumentRow | None:
    """The document, or None."""
    return await session.get(DocumentRow, (kind, key), populate_existing=True)


async def lock(session: WriteSession, kind: str, key: str) -> DocumentRow | None:
    """The document, locked until the transaction ends, so that two publishers take turns."""
    return (await session.execute(_locked(kind, key))).scalar_one_or_none()


async def save_draft(
    session: WriteSession, kind: str, key: str, draft: Mapping[str, Any], as_of: datetime
) -> DocumentRow:
    """Keep this draft, creating the document if it is new. The caller has locked it and compared its etag."""
    first = insert(DocumentRow).values(
        kind=kind,
        key=key,
        draft=draft,
        state=DocumentState.DRAFT,
        etag=tag_of(draft, DocumentState.DRAFT, None),
        updated_at=as_of,
    )
    # Two first drafts at once: the later one waits here for the earlier and then writes over it.
    await session.execute(first.on_conflict_do_nothing())
    row = (await session.execute(_locked(kind, key))).scalar_one()
    return await _write(session, row, as_of, draft=dict(draft))


async def add_version(
    session: WriteSession,
    row: DocumentRow,
    *,
    document: Mapping[str, Any],
    state: DocumentState,
    as_of: datetime,
    by: str,
) -> int:
    """Make the next version of a locked document, and make it the live one. Answers its number."""
    version = await next_version(session, row.kind, row.key)
    session.add(
        DocumentVersion(
            kind=row.kind, key=row.key, version=version, document=dict(document), published_at=as_of, published_by=by
        )
    )
    await _write(session, row, as_of, state=state, live_version=version)
    await _bump(session, row.kind)
    return version


async def set_state(session: WriteSession, row: DocumentRow, state: DocumentState, as_of: datetime) -> None:
    """Pause, resume or archive a locked document."""
    await _write(session, row, as_of, state=state)
    await _bump(session, row.kind)


async def next_version(session: ReadSession, kind: str, key: str) -> int:
    """The number that the next published version gets."""
    latest = select(func.max(DocumentVersion.version)).where(DocumentVersion.kind == kind, DocumentVersion.key == key)
    return ((await session.execute(latest)).scalar() or 0) + 1


async def version_of(session: ReadSession, kind: str, key: str, version: int) -> DocumentVersion | None:
    """One version, or None."""
    return await session.get(DocumentVersion, (kind, key, version))


async def page_of_documents(
    session: ReadSession, kind: str, *, state: DocumentState | None, after: str | None, limit: int
) -> Sequence[DocumentRow]:
    """Documents of a kind by key, from the one after `after`."""
    statement = select(DocumentRow).where(DocumentRow.kind == kind).order_by(DocumentRow.key).limit(limit)
    if state is not None:
        statement = statement.where(DocumentRow.state == state)
    if after is not None:
        statement = statement.where(DocumentRow.key > after)
    return (await session.execute(statement)).scalars().all()


async def page_of_versions(
    session: ReadSession, kind: str, key: str, *, before: int | None, limit: int
) -> Sequence[DocumentVersion]:
    """Versions of a document, the latest first."""
    statement = select(DocumentVersion).where(DocumentVersion.kind == kind, DocumentVersion.key == key)
    if before is not None:
        statement = statement.where(DocumentVersion.version < before)
    return (await session.execute(statement.order_by(DocumentVersion.version.desc()).limit(limit))).scalars().all()


async def live_documents(session: ReadSession, kind: str, keys: Collection[str] | None = None) -> list[LiveDocument]:
    """The live version of every document of a kind that is live or paused: what routers and workers cache.

    `keys`: only of these.
    """
    statement = (
        select(DocumentRow.key, DocumentVersion.version, DocumentRow.state, cast(DocumentVersion.document, Text))
        .join(
            DocumentVersion,
            (DocumentVersion.kind == DocumentRow.kind)
            & (DocumentVersion.key == DocumentRow.key)
            & (DocumentVersion.version == DocumentRow.live_version),
        )
        .where(DocumentRow.kind == kind, DocumentRow.state.in_([DocumentState.LIVE, DocumentState.PAUSED]))
        .order_by(DocumentRow.key)
    )
    if keys is not None:
        statement = statement.where(DocumentRow.key.in_(keys))
    rows = (await session.execute(statement)).all()
    return [LiveDocument(key, version, DocumentState(state), document) for key, version, state, document in rows]


async def change_number(session: ReadSession, kind: str) -> int:
    """A number that grows with every publish, pause, resume and archive of this kind."""
    statement = select(DocumentChange.number).where(DocumentChange.kind == kind)
    return (await session.execute(statement)).scalar() or 0


def _locked(kind: str, key: str) -> Select[DocumentRow]:
    statement = select(DocumentRow).where(DocumentRow.kind == kind, DocumentRow.key == key).with_for_update()
    return statement.execution_options(populate_existing=True)


async def _write(session: WriteSession, row: DocumentRow, as_of: datetime, **values: Any) -> DocumentRow:
    for name, value in values.items():
        setattr(row, name, value)
    row.etag = tag_of(row.draft, DocumentState(row.state), row.live_version)
    row.updated_at = as_of
    await session.flush()
    return row


async def _bump(session: WriteSession, kind: str) -> None:
    statement = insert(DocumentChange).values(kind=kind, number=1)
    await session.execute(
        statement.on_conflict_do_update(index_elements=["kind"], set_={"number": DocumentChange.number + 1})
    )
