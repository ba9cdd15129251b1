"""The loyalty programme that is live, and the version of it that was live at a moment.

There is one at most: `claim_live` sees to it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Row, Text, cast, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert

from database.documents import DocumentChange, DocumentRow, DocumentVersion
from database.published import VersionText, readable
from database.session import ReadSession, WriteSession
from database.shop_settings import shop_settings
from domain.documents import DocumentState
from domain.durations import parse_duration
from domain.earned_dates import history_start
from domain.errors import Conflict
from domain.local_time import resolve_zone
from domain.programmes.definition import ProgrammeDefinition

KIND = "programme"


@dataclass(frozen=True, slots=True)
class LiveProgramme:
    """One version of the live programme; `zone` is its own, else the shop's."""

    key: str
    version: int
    definition: ProgrammeDefinition
    zone: ZoneInfo
    published_at: datetime

    def restored_until(self, as_of: datetime) -> datetime:
        """Until when points that come back now by the shop's doing can be used at least."""
        return parse_duration(self.definition.restore_grace).after(as_of.astimezone(self.zone))

    @property
    def history_since(self) -> datetime | None:
        """From when on imported history earns at its own dates; None: it does not."""
        return history_start(self.definition, self.zone)

    def decides_history(self, moment: datetime) -> bool:
        """Whether imported history of a moment earns at its own date by this version."""
        return self.history_since is not None and self.history_since <= moment


async def live_programme(session: ReadSession) -> LiveProgramme | None:
    """The programme that counts now; None: there is none, and no points move."""
    versions = await live_versions(session)
    return versions[-1] if versions else None


async def programme_at(session: ReadSession, moment: datetime) -> LiveProgramme | None:
    """The version of the live programme that was live at a moment; before the first one, the first."""
    return version_at(await live_versions(session), moment)


def version_at(versions: Sequence[LiveProgramme], moment: datetime) -> LiveProgramme | None:
    """The same among versions that were read before, the oldest first."""
    then = [version for version in versions if version.published_at <= moment]
    return then[-1] if then else next(iter(versions), None)


async def latest_key(session: ReadSession) -> str | None:
    """The key of the live programme, else of the one that was published last: its points are still there."""
    last = select(DocumentVersion.published_at).where(
        DocumentVersion.kind == KIND, DocumentVersion.key == DocumentRow.key
    )
    latest = last.order_by(DocumentVersion.published_at.desc()).limit(1).scalar_subquery()
    is_live = DocumentRow.state == DocumentState.LIVE
    found = select(DocumentRow.key).where(DocumentRow.kind == KIND, latest.is_not(None))
    return await session.scalar(found.order_by(is_live.desc(), latest.desc()).limit(1))


async def latest_version(session: ReadSession, key: str) -> LiveProgramme | None:
    """The version of a programme that was published last, also of one that is archived since."""
    last = select(func.max(DocumentVersion.version)).where(DocumentVersion.kind == KIND, DocumentVersion.key == key)
    version = await session.scalar(last)
    return None if version is None else (await versions_of(session, {(key, version)})).get((key, version))


async def versions_of(
    session: ReadSession, wanted: Collection[tuple[str, int]]
) -> dict[tuple[str, int], LiveProgramme]:
    """Versions of programmes by key and number, also of those that are archived since."""
    if not wanted:
        return {}
    columns = (DocumentVersion.key, DocumentVersion.version, cast(DocumentVersion.document, Text))
    named = tuple_(DocumentVersion.key, DocumentVersion.version).in_(wanted)
    found = select(*columns, DocumentVersion.published_at).where(DocumentVersion.kind == KIND, named)
    return {(each.key, each.version): each for each in await _read(session, (await session.execute(found)).all())}


async def programme_keys(session: ReadSession) -> set[str]:
    """The keys of all programmes that were ever published, also of those that are archived since."""
    published = select(DocumentVersion.key).where(DocumentVersion.kind == KIND).distinct()
    return set((await session.scalars(published)).all())


_VERSION = (DocumentVersion.kind == DocumentRow.kind) & (DocumentVersion.key == DocumentRow.key)
_LIVE_VERSIONS = (
    select(DocumentRow.key, DocumentVersion.version, cast(DocumentVersion.document, Text), DocumentVersion.published_at)
    .join(DocumentVersion, _VERSION & (DocumentVersion.version <= DocumentRow.live_version))
    .where(DocumentRow.kind == KIND, DocumentRow.state == DocumentState.LIVE)
    .order_by(DocumentVersion.version.desc())
    .limit(20)
)


async def live_versions(session: ReadSession) -> list[LiveProgramme]:
    """The latest versions of the live programme up to the live one, the oldest first: enough for events of a day."""
    rows = (await session.execute(_LIVE_VERSIONS)).all()
    return await _read(session, rows[::-1])


async def _read(session: ReadSession, rows: Sequence[Row[str, int, str, datetime]]) -> list[LiveProgramme]:
    """Versions that can be read, as they are stored."""
    if not rows:
        return []
    shop = await shop_settings(session)
    return [
        LiveProgramme(key, version, definition, resolve_zone(definition.zone, shop.zone), published_at)
        for key, version, text, published_at in rows
        if (definition := readable(ProgrammeDefinition, VersionText(KIND, key, version, text))) is not None
    ]


async def claim_live(session: WriteSession, key: str) -> None:
    """Let this programme be the one that goes live. Raises Conflict `programme_live` while another one is.

    Takes the lock that every publish of the kind takes, so that two first programmes cannot both go live.
    """
    await session.execute(insert(DocumentChange).values(kind=KIND).on_conflict_do_nothing())
    await session.execute(select(DocumentChange.number).where(DocumentChange.kind == KIND).with_for_update())
    statement = select(DocumentRow.key).where(
        DocumentRow.kind == KIND, DocumentRow.state == DocumentState.LIVE, DocumentRow.key != key
    )
    if other := await session.scalar(statement):
        raise Conflict(f"The programme {other} is live, and there is one at most: archive it.", code="programme_live")
