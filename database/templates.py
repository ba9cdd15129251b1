"""The live versions of templates. The documents themselves: database/documents.py."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Text, cast, select

from database.documents import DocumentRow, DocumentVersion
from database.published import VersionText, read_version
from database.session import ReadSession
from domain.documents import DocumentState
from domain.templates import BARE_LAYOUT, LAYOUT, Frame, TemplateDocument, blocks_of

KIND = "template"


@dataclass(frozen=True, slots=True)
class LiveTemplate:
    """A template that may be sent, with the layout and the shared blocks of its messages."""

    version: int
    document: TemplateDocument
    frame: Frame


async def live_template(session: ReadSession, key: str) -> LiveTemplate | None:
    """The version that counts now, and what stands around it; None when there is none, it is archived or a block."""
    found = await _live(session, {key, LAYOUT})
    if key not in found or found[key][1].block:
        return None
    version, document = found[key]
    layout = found[LAYOUT][1] if LAYOUT in found else None
    return LiveTemplate(version=version, document=document, frame=await _frame(session, document, layout))


async def frame_of(session: ReadSession, template: TemplateDocument) -> Frame:
    """What stands around a draft and in it: the live layout, unless it is the layout itself, and the live blocks.

    A block stands in a bare layout, since it may have to be published before the layout that shows it.
    """
    if template.block:
        return Frame(TemplateDocument(template=LAYOUT, mjml=BARE_LAYOUT))
    found = {} if template.template == LAYOUT else await _live(session, {LAYOUT})
    return await _frame(session, template, found[LAYOUT][1] if LAYOUT in found else None)


async def _frame(session: ReadSession, template: TemplateDocument, layout: TemplateDocument | None) -> Frame:
    keys = blocks_of([template, layout] if layout else [template])
    blocks = await _live(session, keys) if keys else {}
    return Frame(layout, {key: block for key, (_, block) in blocks.items() if block.block})


async def _live(session: ReadSession, keys: Collection[str]) -> dict[str, tuple[int, TemplateDocument]]:
    """The live versions of these keys."""
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
            DocumentRow.key.in_(keys),
            DocumentRow.state != DocumentState.ARCHIVED,
        )
    )
    stored = [VersionText(KIND, *row) for row in await session.execute(statement)]
    return {each.key: (each.version, read_version(TemplateDocument, each)) for each in stored}
