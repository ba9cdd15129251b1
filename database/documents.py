"""Documents that marketers edit (journeys, templates, later segments, programmes, ...): one draft each, immutable versions."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKeyConstraint, Index, PrimaryKeyConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Created, Json, Table


class DocumentRow(Table):
    """One document under its kind and key."""

    __tablename__ = "documents"

    kind: Mapped[str]  # journey | template | ...
    key: Mapped[str]
    draft: Mapped[Json]
    state: Mapped[str]  # draft | live | paused | archived
    live_version: Mapped[int | None]
    etag: Mapped[str]  # of the draft and state
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
