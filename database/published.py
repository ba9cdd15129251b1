"""Published versions as models, for every kind of document and every process.

What this release cannot read is left out with an alarm: a log line, `perennial_documents_unreadable` and a cross in
`perennial doctor`. It is never blamed on the event or the customer that needed it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple, TypeVar

import structlog
from prometheus_client import Counter
from sqlalchemy import Text, cast, select

from database.documents import DocumentRow, DocumentVersion
from database.session import ReadSession
from domain.challenges.definition import ChallengeDefinition
from domain.contests.definition import ContestDefinition
from domain.document import Document
from domain.documents import DocumentState
from domain.journeys.definition import JourneyDefinition
from domain.programmes.definition import ProgrammeDefinition
from domain.published import UnreadableDocument, read_published, unknown_members
from domain.rewards import RewardDefinition
from domain.templates import TemplateDocument

log = structlog.get_logger(__name__)

D = TypeVar("D", bound=Document)

MODELS: Mapping[str, type[Document]] = {
    "journey": JourneyDefinition,
    "programme": ProgrammeDefinition,
    "challenge": ChallengeDefinition,
    "contest": ContestDefinition,
    "reward": RewardDefinition,
    "template": TemplateDocument,
}
"""The model of each kind of document."""

_UNREADABLE = Counter("perennial_documents_unreadable", "Published versions that this process cannot read", ["kind"])


class VersionText(NamedTuple):
    """One published version as it is stored."""

    kind: str
    key: str
    version: int
    text: str  # JSON


def read_version(model: type[D], stored: VersionText) -> D:
    """The version as `model`. Raises UnreadableDocument, and has raised the alarm then."""
    found = _read(model, stored)
    if isinstance(found, UnreadableDocument):
        raise found
    return found  # type: ignore[return-value]  # `_read` answers an instance of the model it was given


def readable(model: type[D], stored: VersionText) -> D | None:
    """The version as `model`; None, with the alarm raised, where this release cannot read it."""
    found = _read(model, stored)
    return None if isinstance(found, UnreadableDocument) else found  # type: ignore[return-value]  # as above


# By the text too, so that what is kept is right in every database.
@lru_cache(maxsize=4_000)
def _read(model: type[Document], stored: VersionText) -> Document | UnreadableDocument:
    about = {"kind": stored.kind, "key": stored.key, "version": stored.version}
    try:
        document = read_published(model, stored.text)
    except UnreadableDocument as unreadable:
        _UNREADABLE.labels(stored.kind).inc()
        log.error("document unreadable", **about, reason=unreadable.detail)  # noqa: TRY400  no traceback: it says all
        return unreadable
    if unknown := unknown_members(model, stored.text):
        log.warning("document has members this release does not know", **about, passed_over=unknown)
    return document


_LIVE = (
    select(DocumentRow.kind, DocumentRow.key, DocumentVersion.version, cast(DocumentVersion.document, Text))
    .join(
        DocumentVersion,
        (DocumentVersion.kind == DocumentRow.kind)
        & (DocumentVersion.key == DocumentRow.key)
        & (DocumentVersion.version == DocumentRow.live_version),
    )
    .where(DocumentRow.state.in_([DocumentState.LIVE, DocumentState.PAUSED]))
    .order_by(DocumentRow.kind, DocumentRow.key)
)


async def unread_documents(session: ReadSession) -> list[str]:
    """What this release cannot read, or reads only in part, of the documents that count now: one line each."""
    lines = []
    for row in await session.execute(_LIVE):
        stored = VersionText(*row)
        model, name = MODELS.get(stored.kind), f"{stored.kind} {stored.key}, version {stored.version}"
        if model is None:
            lines.append(f"{name}: this release does not know the kind")
        elif isinstance(found := _read(model, stored), UnreadableDocument):
            lines.append(f"{name}: {found.detail}")
        elif unknown := unknown_members(model, stored.text):
            lines.append(f"{name}: passed over {', '.join(unknown)}")
    return lines
