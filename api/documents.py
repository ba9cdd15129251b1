"""The life cycle that all documents of marketers share: draft, check, publish, versions, pause, resume, archive.

What differs between kinds (journeys, templates, ...) is a `DocumentKind`; this file knows none of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict

from database.session import ReadSession, WriteSession
from domain.document import Document
from domain.documents import Change, Planned, Publication, Published
from domain.findings import Finding


class PublishRequest(BaseModel):
    """`{}` publishes, `dry_run` answers the plan, `plan` confirms it by its digest; `policy` is per step."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dry_run: bool = False
    plan: str | None = None
    policy: dict[str, Literal["stay", "move", "finish"]] = {}


class DocumentKind(Protocol):
    """What the life cycle asks of one kind of document.

    `name` is the kind's column and the member of the document that repeats its key ("journey"), `plural` its path
    ("journeys"), `model` reads a draft, `changes` says which of pause, resume and archive apply.
    """

    name: str
    plural: str
    model: type[Document]
    changes: frozenset[Change]

    async def check(self, session: ReadSession, key: str, draft: Document) -> Sequence[Finding]:
        """What is wrong with a draft that could be read (an instance of `model`)."""
        ...

    async def publish(
        self, session: WriteSession, publication: Publication, request: PublishRequest, as_of: datetime
    ) -> Published | Planned:
        """The document to keep as the version, or the plan. Moves and ends runs in flight in this transaction.

        Called only for drafts without errors. Raises Conflict when the plan that is confirmed is no longer true.
        """
        ...

    async def changed(self, session: WriteSession, key: str, change: Change, as_of: datetime) -> None:
        """Follows a pause, resume or archive in its transaction: wake held runs, end runs."""
        ...
