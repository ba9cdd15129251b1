"""What limits and occasions of earning rules have been used up by decisions that were stored before."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

import orjson
from sqlalchemy import text

from database.session import ReadSession
from domain.earning import Occasion, Usage, Used
from domain.identities import Stamp
from domain.programmes.periods import Period


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit that is about to be asked for: of a rule in a period (None: ever), as before a moment."""

    customer_id: UUID
    rule: str
    period: Period | None
    before: Stamp


# Before later edits of the order, which reopen no limit and use none up.
_FIRST_POINTS = """(earnings.points - coalesce(
        (SELECT sum(CAST(edit ->> 'by' AS bigint)) FROM jsonb_array_elements(earnings.inputs -> 'edits') AS edit), 0
    ))"""

_USED = text(f"""
    SELECT asked.ordinal, coalesce(sum({_FIRST_POINTS}), 0)::bigint AS points, count(earnings.id) AS times
    FROM jsonb_to_recordset(CAST(:limits AS jsonb)) AS asked (
        ordinal bigint, customer_id uuid, rule text, start timestamptz, "end" timestamptz, at timestamptz,
        sent timestamptz, event_id uuid
    )
    JOIN earnings ON earnings.customer_id = asked.customer_id AND earnings.programme = :programme
        AND earnings.rule = asked.rule AND earnings.is_final AND {_FIRST_POINTS} > 0
        AND (asked.start IS NULL OR (earnings.at >= asked.start AND earnings.at < asked."end"))
        AND (earnings.at, earnings.sent, earnings.event_id) < (asked.at, asked.sent, asked.event_id)
    GROUP BY asked.ordinal
""")  # noqa: S608  an expression, written above


async def usage_of(
    session: ReadSession,
    programme: str,
    limits: Sequence[Limit],
    occasions: Collection[Occasion],
    but: Collection[UUID],
) -> Usage:
    """What was used of limits by earlier events, and which occasions are taken, but by the decisions named in `but`."""
    usage = Usage(occasions=await _taken(session, programme, occasions, but))
    if not limits:
        return usage
    rows = [
        {
            "ordinal": ordinal,
            "customer_id": limit.customer_id,
            "rule": limit.rule,
            "start": limit.period and limit.period.start,
            "end": limit.period and limit.period.end,
            "at": limit.before.timestamp,
            "sent": limit.before.sent,
            "event_id": limit.before.event_id,
        }
        for ordinal, limit in enumerate(limits)
    ]
    given = {"programme": programme, "limits": orjson.dumps(rows).decode()}
    for ordinal, points, times in await session.execute(_USED, given):
        limit = limits[ordinal]
        usage.limits[limit.customer_id, limit.rule, limit.period] = Used(points, times)
    return usage


# Occasions of a customer's own are looked for among that customer's decisions, also from before a merge. One look into
# uq_earnings_occasion for each; a customer's id in `owner` says only that there is one.
_TAKEN = text("""
    SELECT asked.ordinal
    FROM jsonb_to_recordset(CAST(:occasions AS jsonb)) AS asked (ordinal bigint, rule text, value text, owner uuid)
    JOIN earnings ON earnings.programme = :programme AND earnings.is_final
        AND earnings.rule = asked.rule AND earnings.occasion = asked.value
        AND CASE WHEN earnings.owner IS NOT NULL THEN earnings.customer_id END IS NOT DISTINCT FROM asked.owner
    WHERE earnings.id <> ALL(CAST(:but AS uuid[]))
""")


async def _taken(
    session: ReadSession, programme: str, occasions: Collection[Occasion], but: Collection[UUID]
) -> set[Occasion]:
    asked = list(occasions)
    if not asked:
        return set()
    rows = [
        {"ordinal": ordinal, "rule": each.rule, "value": each.value, "owner": each.owner}
        for ordinal, each in enumerate(asked)
    ]
    given = {"programme": programme, "occasions": orjson.dumps(rows).decode(), "but": list(but)}
    return {asked[ordinal] for ordinal in (await session.execute(_TAKEN, given)).scalars()}
