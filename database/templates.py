"""The live versions of templates. The documents themselves: database/documents.py."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Text, cast, select

from database.documents import DocumentRow, DocumentVersion
from database.published import VersionText, read_version
from database.session import ReadSession
from domain.documents import DocumentState
from domain.templates import LAYOUT, TemplateDocument

KIND = "template"


@dataclass(frozen=True, slots=True)
class LiveTemplate:
    """A template that may be sent, with the layout that frames it."""

    version: int
    document: TemplateDocument
    layout: TemplateDocument | None


async def live_template(session: ReadSession, key: str) -> LiveTemplate | None:
    """The version that counts now, and the live layout; None when there is none or it is archived."""
    statement = (
        select(DocumentRow.key, DocumentVersion.version, cast(DocumentVersion.document, Text))
        .join(
            DocumentVersion,
            (DocumentVersion.kind == DocumentRow.kind)
            & (DocumentVersion.key == DocumentRow.key)
            & (DocumentVersion.version == DocumentRow.live_version),
        )
        .where(
            DocumentRow.kind == KIND,
            DocumentRow.key.in_([key, LAYOUT]),
            DocumentRow.state != DocumentState.ARCHIVED,
        )
    )
    found = {row[0]: VersionText(KIND, *row) for row in await session.execute(statement)}
    if key not in found:
        return None
    layout = found.get(LAYOUT)
    return LiveTemplate(
        version=found[key].version,
        document=read_version(TemplateDocument, found[key]),
        layout=None if layout is None else read_version(TemplateDocument, layout),
    )


async def layout(session: ReadSession) -> TemplateDocument | None:
    """The live layout."""
    live = await live_template(session, LAYOUT)
    return None if live is None else live.document
