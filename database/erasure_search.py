"""The search that ends an erasure: every table in full, in portions, and the statistics that PostgreSQL keeps of them.

Ids are looked for where ids stand, since a short one stands in other people's data by chance; addresses, phone numbers
and long ids everywhere, in every form of domain/encoded_forms.py and domain/disguises.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, Text, TextClause, false, func, literal, literal_column, text
from sqlalchemy import Table as SqlTable
from sqlalchemy.dialects.postgresql import ARRAY

from database.erasures import Traces
from database.session import ReadSession, WriteSession
from domain.disguises import DISGUISES, disguises_of, needle_of, sign
from domain.encoded_forms import FORMS, encoded_forms

BLOCKS_AT_ONCE: Final = 16_384
"""Pages of a table in one statement, 128 MB: none runs for long, however big the table is."""
ROWS_AT_ONCE: Final = 500
"""Rows that are held in memory at once."""
MOST_LISTED: Final = 500
"""Events of other people that a proof names; beyond, they are only counted."""

_TABLES = text("""
    SELECT relname AS name, pg_relation_size(oid) / current_setting('block_size')::int AS blocks
    FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace
    ORDER BY relname
""")
_COLUMNS = text("""
    SELECT table_name, array_agg(column_name::text) AS names FROM information_schema.columns
    WHERE table_schema = current_schema() GROUP BY table_name
""")

# Where ids stand that are too short to be looked for everywhere.
_IDS: Final[Mapping[str, str]] = {
    "events": """
        customer_id = ANY(CAST(:customers AS uuid[])) OR subject = ANY(:subjects) OR user_id = ANY(:user_ids)
        OR previous_id = ANY(:user_ids)
    """,
    "identities": "value = ANY(:ids)",
}
# Of rows that may hide something the text comes along, to be decoded here.
_SEARCH = """
    SELECT {own} AS is_own, {listed}, found.is_plain,
        CASE WHEN {is_listed} OR NOT found.is_plain THEN written.shown END AS shown
    FROM "{table}" AS t
    CROSS JOIN LATERAL (SELECT lower(t::text) AS shown OFFSET 0) AS written
    CROSS JOIN LATERAL (
        SELECT written.shown LIKE ANY(CAST(:patterns AS text[])) OR coalesce({ids}, false) AS is_plain OFFSET 0
    ) AS found
    WHERE t.ctid >= '({first},0)'::tid AND t.ctid < '({last},0)'::tid
      AND {judged} AND (found.is_plain OR written.shown ~ CAST(:sign AS text))
"""
# The router drops, or strips of the ids, what names them after the request: it is nothing that was left.
_JUDGED = "NOT coalesce(t.status = 'pending' AND t.received_at > CAST(:asked_at AS timestamptz), false)"
_STATISTICS = text("""
    SELECT tablename::text, count(*) AS columns FROM pg_stats
    WHERE schemaname = current_schema() AND tablename <> 'erasures' AND lower(concat_ws(
        ' ', most_common_vals::text, histogram_bounds::text, most_common_elems::text, range_bounds_histogram::text
    )) LIKE ANY(CAST(:patterns AS text[]))
    GROUP BY tablename
""")

_FORGET_SAMPLE = text("""
    SELECT pg_clear_attribute_stats(schemaname, tablename, attname, inherited)
    FROM pg_stats CROSS JOIN LATERAL (SELECT format('%I.%I', schemaname, tablename)::regclass AS sampled) AS its
    WHERE schemaname = current_schema() AND has_table_privilege(sampled, 'MAINTAIN') AND (
        tablename = CAST(:table AS text)
        OR sampled IN (SELECT relid FROM pg_partition_tree(CAST(:table AS text)::regclass))
    )
""")


@dataclass(frozen=True, slots=True)
class Portion:
    """Some pages of a table."""

    table: str
    columns: Sequence[str]
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class ForeignEvent:
    """Somebody else's event that shows the person's address or id, and in which forms."""

    event_id: UUID
    customer_id: UUID
    forms: Sequence[str]


@dataclass(slots=True)
class Sighting:
    """What a portion shows: rows of the person's own or of nobody, rows of other customers, and those of them that are
    events."""

    own: int = 0
    others: int = 0
    events: list[ForeignEvent] = field(default_factory=list)


def mentions(table: SqlTable, needles: Sequence[str], *, body: str) -> ColumnElement[bool]:
    """Whether a row as text, or its column `body` of bytes, holds any of the needles as they are."""
    row = func.lower(literal_column(f"""concat("{table.name}"::text, encode("{table.name}"."{body}", 'escape'))"""))
    patterns = literal([_pattern(needle.lower()) for needle in needles], ARRAY(Text))
    return row.bool_op("LIKE")(func.any(patterns)) if needles else false()


def searched(traces: Traces, tables: int) -> dict[str, object]:
    """What the search looks for, without naming it: how many of each, in which forms, and where."""
    return {
        "addresses": len(traces.addresses),
        "phones": len(traces.phones),
        "user_ids": len(traces.user_ids),
        "anonymous_ids": len(traces.anonymous_ids),
        "everywhere": len(traces.needles),
        "forms": [*FORMS, *DISGUISES],
        "tables": tables,
    }


async def portions(session: ReadSession) -> list[Portion]:
    """Every table, partitions too, in portions. The job itself knows what it looks for until it completes."""
    columns = {row.table_name: row.names for row in await session.execute(_COLUMNS)}
    return [
        Portion(row.name, columns.get(row.name, []), first, min(first + BLOCKS_AT_ONCE, end))
        for row in await session.execute(_TABLES)
        if row.name not in ("erasures", "alembic_version")
        for end in [row.blocks + BLOCKS_AT_ONCE]  # what comes in meanwhile is looked at too
        for first in range(0, end, BLOCKS_AT_ONCE)
    ]


async def look_into(session: ReadSession, portion: Portion, traces: Traces) -> Sighting:
    """Search one portion."""
    is_events = portion.table == "events"
    needles = [needle_of(each) for each in traces.needles]
    forms = _forms(traces)
    sighting = Sighting()
    async for rows in (await session.stream(*_search(portion, traces))).partitions(ROWS_AT_ONCE):
        for row in rows:
            disguises = [] if row.is_plain else disguises_of(row.shown, needles)
            if not (row.is_plain or disguises):
                continue
            if row.is_own:
                sighting.own += 1
                continue
            sighting.others += 1
            if is_events and len(sighting.events) < MOST_LISTED:
                plainly = [form for form, texts in forms.items() if row.is_plain and _shows(row.shown, texts)]
                sighting.events.append(ForeignEvent(row.id, row.customer_id, [*plainly, *disguises]))
    return sighting


def _search(portion: Portion, traces: Traces) -> tuple[TextClause, dict[str, object]]:
    """The statement for a portion with what it is given."""
    is_events = portion.table == "events"
    whose = {"customers": "t.id"}.get(portion.table, "t.customer_id" if "customer_id" in portion.columns else None)
    statement = _SEARCH.format(
        own="true" if whose is None else f"({whose} IS NULL OR {whose} = ANY(CAST(:customers AS uuid[])))",
        listed="t.id, t.customer_id" if is_events else "NULL AS id",
        is_listed="true" if is_events else "false",
        table=portion.table,
        ids=_IDS.get(portion.table, "false"),
        judged=_JUDGED if is_events else "true",
        first=portion.first,
        last=portion.last,
    )
    given = {
        "patterns": patterns_of(traces),
        "sign": sign() if traces.needles else None,
        "customers": traces.customers,
        "subjects": traces.subjects,
        "asked_at": traces.asked_at,
        "user_ids": traces.user_ids,
        "ids": [*traces.user_ids, *traces.anonymous_ids],
    }
    return text(statement), _used(statement, given)


async def look_into_statistics(session: ReadSession, traces: Traces) -> set[str]:
    """The tables of whose values PostgreSQL still keeps a sample that shows the person; of jobs it is taken anew when
    this one has completed."""
    return set(await session.scalars(_STATISTICS, {"patterns": patterns_of(traces)}))


async def refresh_statistics(session: WriteSession, table: str) -> None:
    """Take the sample of a table's values anew, so that nothing of removed rows is left in it.

    The last statements of a transaction: only the owner may do so, and PostgreSQL passes over the wish of anybody else
    without an error. The old sample goes first, for it would stay where the table is empty now.
    """
    await session.execute(text("SET LOCAL ROLE NONE"))
    await session.execute(_FORGET_SAMPLE, {"table": table})
    await session.execute(text(f'ANALYZE "{table}"'))


def patterns_of(traces: Traces) -> list[str]:
    """LIKE patterns for all that is looked for everywhere."""
    return [_pattern(each) for texts in _forms(traces).values() for each in texts]


def _forms(traces: Traces) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {form: [] for form in FORMS}
    for needle in traces.needles:
        for form, texts in encoded_forms(needle).items():
            found[form] += texts
    return found


def _shows(row: str, texts: Sequence[str]) -> bool:
    return any(each in row for each in texts)


def _pattern(needle: str) -> str:
    escaped = needle.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def _used(statement: str, given: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in given.items() if f":{name}" in statement}
