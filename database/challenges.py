"""Challenges that are published. What their members did is challenge_events.py."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from sqlalchemy import select, text

from database.challenge_progress import ChallengeCompletion
from database.challenge_totals import totals_of
from database.documents import DocumentRow, load
from database.published import VersionText, readable
from database.session import ReadSession
from domain.challenges.checks import Surroundings
from domain.challenges.definition import ChallengeDefinition
from domain.challenges.facts import ReadFact, fact_reader
from domain.challenges.versions import Given
from domain.conditions.checks import NOTHING_KNOWN, Seen
from domain.documents import DocumentState

KIND = "challenge"


@dataclass(frozen=True)
class LiveChallenge:
    """A version of a challenge, mostly the one that counts now. Paused: nothing is given.

    `since`: the first publication. `heights`: level -> how high it ever was in any version. Archived: nothing counts.
    """

    key: str
    version: int
    definition: ChallengeDefinition
    since: datetime
    is_paused: bool = False
    heights: Mapping[str, int] = field(default_factory=dict)
    is_archived: bool = False

    @cached_property
    def read_fact(self) -> ReadFact:
        """What one event contributes."""
        return fact_reader(self.definition, self.since)

    def given(self, completed: Iterable[ChallengeCompletion], zone: ZoneInfo) -> list[Given]:
        """What a member has from all versions, of all that they `completed`. `zone`: whose calendar counts if the
        challenge names none.
        """
        zone = ZoneInfo(self.definition.zone) if self.definition.zone else zone
        return [
            Given(
                *(row.level, self.heights.get(row.level, 0), row.period, row.round),
                day=row.reached_at.astimezone(zone).date(),
            )
            for row in completed
            if row.challenge == self.key and row.revoked_at is None
        ]


# The first version says since when events count. Versions are few, and read when one was published only.
_VERSIONS = """
    SELECT
        versions.key, versions.version, CAST(versions.document AS text) AS document, first.published_at,
        documents.state, coalesce((
            SELECT jsonb_object_agg(level, at) FROM (
                SELECT each ->> 'level' AS level, max(CAST(each ->> 'at' AS numeric)) AS at
                FROM document_versions AS earlier
                CROSS JOIN jsonb_path_query(earlier.document, '$.levels[*] ? (@.at.type() == "number")') AS each
                WHERE earlier.kind = documents.kind AND earlier.key = documents.key AND each ->> 'level' IS NOT NULL
                GROUP BY each ->> 'level'
            ) AS levels
        ), '{}') AS heights
    FROM documents
    JOIN document_versions AS versions ON versions.kind = documents.kind AND versions.key = documents.key
    JOIN document_versions AS first
        ON first.kind = documents.kind AND first.key = documents.key AND first.version = 1
    WHERE documents.kind = 'challenge' AND
"""
_LIVE = text(f"""
    {_VERSIONS} documents.state IN ('live', 'paused') AND versions.version = documents.live_version
    ORDER BY documents.key
""")
_THESE = text(f"""
    {_VERSIONS} (versions.key, versions.version) IN (
        SELECT key, version FROM jsonb_to_recordset(CAST(:wanted AS jsonb)) AS wanted (key text, version bigint)
    )
""")  # noqa: S608


async def live_challenges(session: ReadSession) -> Mapping[str, LiveChallenge]:
    """The challenges that are live or paused; without those that this release cannot read."""
    rows = await session.execute(_LIVE)
    return {row.key: challenge for row in rows if (challenge := _challenge(row)) is not None}


async def published_challenge(session: ReadSession, key: str) -> LiveChallenge | None:
    """The version that counts, or that counted last before the challenge was archived."""
    row = await load(session, KIND, key)
    if row is None or row.live_version is None:
        return None
    return (await challenge_versions(session, [(key, row.live_version)])).get((key, row.live_version))


async def challenge_versions(
    session: ReadSession, wanted: Collection[tuple[str, int]]
) -> Mapping[tuple[str, int], LiveChallenge]:
    """These versions, whatever became of their challenges since: what they decided goes by them."""
    if not wanted:
        return {}
    asked = [{"key": key, "version": version} for key, version in sorted(set(wanted))]
    rows = await session.execute(_THESE, {"wanted": orjson.dumps(asked).decode()})
    return {(row.key, row.version): challenge for row in rows if (challenge := _challenge(row)) is not None}


def _challenge(row: Any) -> LiveChallenge | None:  # a row of _VERSIONS
    definition = readable(ChallengeDefinition, VersionText(KIND, row.key, row.version, row.document))
    if definition is None:
        return None
    heights = {level: int(at) for level, at in row.heights.items()}
    return LiveChallenge(
        *(row.key, row.version, definition, row.published_at),
        is_paused=row.state == DocumentState.PAUSED,
        heights=heights,
        is_archived=row.state == DocumentState.ARCHIVED,
    )


async def surroundings(
    session: ReadSession, seen: Seen = NOTHING_KNOWN, *, has_programme: bool, key: str | None = None
) -> Surroundings:
    """What a challenge is checked against; `key`: which, as published so far."""
    live = await live_challenges(session)
    before = live.get(key) if key is not None else None
    statement = select(DocumentRow.key).where(DocumentRow.kind == "reward", DocumentRow.state == DocumentState.LIVE)
    return Surroundings(
        seen=seen,
        requires={key: challenge.definition.requires for key, challenge in live.items()},
        rewards=frozenset((await session.execute(statement)).scalars()),
        has_programme=has_programme,
        before=before.definition if before else None,
        heights=before.heights if before else {},
    )


async def community_figure(session: ReadSession, challenge: str, period: str) -> Decimal:
    """What all members have come to together."""
    return (await totals_of(session, challenge, period)).get(period, Decimal(0))
