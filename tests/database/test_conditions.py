"""Conditions in SQL: one statement for many subjects, by an index, safe against anything stored or written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import TypeAdapter
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import insert, text

from database.conditions import ShopDefaults, Subject, Verdict, judge, matching
from database.customers import Customer
from database.session import Database
from domain.conditions.dates import shifted
from domain.conditions.model import Condition
from domain.durations import parse_duration
from domain.errors import NotAvailableYet
from domain.ids import new_id
from domain.local_time import ZONES, resolve_zone

_CONDITION: TypeAdapter[Condition] = TypeAdapter(Condition)
_NOW = datetime(2026, 5, 10, 12, tzinfo=UTC)


async def a_customer(database: Database, **columns: Any) -> UUID:
    row = {"id": new_id(), "traits": {}, "first_seen": _NOW, "last_seen": _NOW, **columns}
    async with database.transaction() as session:
        await session.execute(insert(Customer).values(row))
    return UUID(str(row["id"]))


# `at` is microseconds before _NOW for the first event; each further one is a minute earlier.
_EVENTS = text("""
    INSERT INTO events (
        id, source, message_id, kind, name, subject, timestamp, received_at, properties, traits, context, trusted,
        status, customer_id, number
    )
    SELECT
        gen_random_uuid(), 'test', gen_random_uuid()::text, 'track', :name, 'u:test',
        CAST(:at AS timestamptz) - n * interval '1 minute', :at, jsonb_build_object('total', n), '{}', '{}', true,
        'routed', customer, n
    FROM unnest(CAST(:customers AS uuid[])) AS customer, generate_series(1, CAST(:count AS bigint)) AS n
""")


async def some_events(database: Database, customers: list[UUID], name: str, count: int) -> None:
    async with database.transaction() as session:
        await session.execute(_EVENTS, {"customers": customers, "name": name, "count": count, "at": _NOW})


async def verdicts(
    database: Database, document: dict[str, Any], subjects: list[Subject], **options: Any
) -> list[Verdict]:
    async with database.read() as session:
        return await judge(session, _CONDITION.validate_python(document), subjects, **options)


async def test_many_subjects_are_judged_in_one_statement_and_in_their_order(database: Database) -> None:
    ids = [await a_customer(database, traits={"n": number}) for number in range(5)]
    subjects = [Subject(customer_id=id_, as_of=_NOW) for id_ in reversed(ids)]
    statements: list[str] = []
    sqlalchemy_event.listen(
        database.engine.sync_engine, "before_cursor_execute", lambda *given: statements.append(given[2])
    )
    judged = await verdicts(database, {"any": [{"trait": "n", "gte": 3}, {"did": "Order Completed"}]}, subjects)
    assert [verdict.holds for verdict in judged] == [True, True, False, False, False]
    assert len(statements) == 1


async def test_ids_of_items_are_the_same_as_numbers_and_as_texts(database: Database) -> None:
    texts, others = ["1", "01", "1.5", "", "true", "-7"], [1, 1.0, 1.5, 0, True, -7, None, [1]]
    pairs = [(one, other) for text in texts for each in others for one, other in ((text, each), (each, text))]
    customers = {repr(one): await a_customer(database, traits={"id": one}) for one in [*texts, *others]}
    subjects = [
        Subject(customer_id=customers[repr(one)], as_of=_NOW, entry={"item": {"id": other}}) for one, other in pairs
    ]

    for comparison in ({"eq": {"entry": "item.id"}}, {"in": ["x", {"entry": "item.id"}]}):
        found = await verdicts(database, {"trait": "id", **comparison}, subjects)
        same = {f"{one!r} {other!r}" for (one, other), verdict in zip(pairs, found, strict=True) if verdict.holds}
        assert same == {"'1' 1", "1 '1'", "'1' 1.0", "1.0 '1'", "'-7' -7", "-7 '-7'"}


async def test_one_customer_at_two_moments_gets_two_verdicts(database: Database) -> None:
    ann = await a_customer(database)
    await some_events(database, [ann], "Order Completed", 3)
    bounded = [Subject(customer_id=ann, as_of=_NOW, number=number) for number in (None, 0, 2, 3)]
    judged = await verdicts(database, {"did": "Order Completed", "at_least": 3}, bounded)
    assert [verdict.holds for verdict in judged] == [True, False, False, True]


async def test_nobody_to_judge_is_no_statement(database: Database) -> None:
    assert await verdicts(database, {"all": []}, []) == []


async def test_a_customer_that_does_not_exist_has_nothing(database: Database) -> None:
    nobody = Subject(customer_id=new_id(), as_of=_NOW)
    [no, yes] = [await verdicts(database, {"trait": "a", "exists": wanted}, [nobody]) for wanted in (True, False)]
    assert (no[0].holds, yes[0].holds) == (False, True)


async def test_the_first_leaf_that_failed_is_told_when_asked_for(database: Database) -> None:
    ann = await a_customer(database, traits={"plan": "gold"})
    document = {
        "all": [{"trait": "plan", "eq": "gold"}, {"not": {"any": [{"did": "A"}, {"trait": "plan", "ne": "x"}]}}]
    }
    subject = Subject(customer_id=ann, as_of=_NOW)
    assert await verdicts(database, document, [subject], explain=True) == [Verdict(False, "/all/1/not/any/1")]
    assert await verdicts(database, document, [subject]) == [Verdict(False)]


async def test_an_audience_leaves_out_merged_and_erased_customers(database: Database) -> None:
    ann = await a_customer(database)
    await a_customer(database, merged_into=ann)
    await a_customer(database, erased_at=_NOW)
    async with database.read() as session:
        members = (await session.execute(matching(_CONDITION.validate_python({"all": []}), _NOW))).scalars().all()
    assert members == [ann]


async def test_the_shops_zone_and_consent_hold_where_the_customer_says_nothing(database: Database) -> None:
    ann = await a_customer(database, traits={"joined": "2026-05-09T23:30:00Z"}, zone="Nowhere/Bogus")
    subject = Subject(customer_id=ann, as_of=_NOW)
    document = {"all": [{"trait": "joined", "same_day": "2026-05-10"}, {"consent": "marketing"}]}
    shop = ShopDefaults(zone="Europe/Berlin", consent={"marketing": "subscribed"})
    assert [verdict.holds for verdict in await verdicts(database, document, [subject], shop=shop)] == [True]
    assert [verdict.holds for verdict in await verdicts(database, document, [subject])] == [False]


async def test_forms_of_a_later_release_are_refused(database: Database) -> None:
    later: list[dict[str, Any]] = [
        {"segment": "x"},
        {"score": "churn", "gt": 1},
    ]
    for leaf in later:
        with pytest.raises(NotAvailableYet):
            await verdicts(database, leaf, [Subject(customer_id=new_id(), as_of=_NOW)])


async def test_the_index_by_customer_name_and_time_answers_did_and_aggregate(database: Database) -> None:
    customers = [await a_customer(database) for _ in range(50)]
    await some_events(database, customers, "Order Completed", 500)
    await some_events(database, customers, "Product Viewed", 1_500)
    async with database.transaction() as session:
        await session.execute(text("SET LOCAL ROLE NONE"))  # the application itself may not
        await session.execute(text("ANALYZE events"))
    for document in (
        {"did": "Order Completed", "within": "30m", "at_least": 2, "where": [{"property": "total", "gte": 5}]},
        {"aggregate": "sum", "of": "properties.total", "over": "Order Completed", "within": "30m", "gte": 300},
    ):
        statement = matching(_CONDITION.validate_python(document), _NOW)
        plan = await _plan(database, statement)
        assert "ix_events_customer_name" in plan
        assert "Seq Scan on events" not in plan


async def _plan(database: Database, statement: Any) -> str:
    compiled = statement.compile(dialect=database.engine.dialect, compile_kwargs={"render_postcompile": True})
    async with database.engine.connect() as connection:
        rows = await connection.exec_driver_sql(f"EXPLAIN {compiled}", tuple(_bound(compiled)))
        return "\n".join(row[0] for row in rows)


def _bound(compiled: Any) -> list[Any]:
    processors = compiled._bind_processors
    return [
        processors[name](compiled.params[name]) if name in processors else compiled.params[name]
        for name in compiled.positiontup
    ]


async def test_months_are_counted_alike_in_postgresql_and_python_around_every_kind_of_clock_change(
    database: Database,
) -> None:
    """A window's start may fall into a gap or a doubled hour: both take the later reading."""
    zones = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Havana", "Pacific/Apia", "Asia/Tokyo"]
    changes = [
        datetime(2026, 3, 29, 1, tzinfo=UTC),
        datetime(2026, 10, 25, 1, tzinfo=UTC),
        datetime(2011, 12, 30, 12, tzinfo=UTC),
    ]
    sql = text("SELECT timezone(:zone, timezone(:zone, CAST(:at AS timestamptz)) - make_interval(0, 1))")
    async with database.read() as session:
        for zone in zones:
            for change in changes:
                for minutes in range(-180, 180, 15):
                    at = change + timedelta(days=31, minutes=minutes)
                    found = (await session.execute(sql, {"zone": zone, "at": at})).scalar_one()
                    assert found == shifted(at, parse_duration("1mo"), -1, resolve_zone(zone))


async def test_every_zone_that_python_knows_is_one_that_postgresql_can_use(database: Database) -> None:
    valid = text(
        "SELECT zone FROM unnest(CAST(:zones AS text[])) AS zone"
        " WHERE NOT pg_input_is_valid('2000-01-01 00:00:00 ' || zone, 'timestamptz')"
    )
    async with database.read() as session:
        assert (await session.execute(valid, {"zones": sorted(ZONES)})).scalars().all() == []


_HOSTILE = [
    *("'; DROP TABLE customers; --", "$1", ":x", "%s", "%(x)s", "{0}", "\\", '"', "a b", "\u202e", "\x01", "𝒳", "()"),
]


async def test_hostile_keys_names_and_values_are_data(database: Database) -> None:
    for key in _HOSTILE:
        ann = await a_customer(database, traits={key: key, "nested": {key: [key]}})
        told: dict[str, Any] = {"entry": {"properties": {key: key}}, "saved": {key: {key: key}}, "variants": {key: key}}
        subject = Subject(customer_id=ann, as_of=_NOW, **told)
        assert await verdicts(database, {"all": _using(key)}, [subject], explain=True) == [Verdict(True)]


def _using(key: str) -> list[dict[str, Any]]:
    return [
        {"trait": key, "eq": key},
        {"trait": f"nested.{key}[]", "matches_any": [key]},
        {"trait": key, "in": [key, {"entry": f"properties.{key}"}], "case": "ignore"},
        {"event": f"properties.{key}", "starts_with": key},
        {"saved": f"{key}.{key}", "eq": key},
        {"variant": key, "eq": key},
        {"not": {"did": key, "where": [{"property": key, "contains": key}]}},
        {"not": {"message": "sent", "template": key}},
        {"consent": key, "eq": "none"},
        {"bucket": [0, 100], "salt": key},
    ]


async def test_a_condition_at_its_limits_is_judged(database: Database) -> None:
    ann = await a_customer(database, traits={"n": 9_999})
    wide: dict[str, Any] = {"any": [{"trait": "n", "eq": number} for number in range(298)]}
    deep: dict[str, Any] = {"trait": "n", "in": list(range(10_000))}
    for _ in range(20):
        deep = {"not": deep}
    subject = Subject(customer_id=ann, as_of=_NOW)
    assert await verdicts(database, wide, [subject], explain=True) == [Verdict(False, "/any/0")]
    assert await verdicts(database, deep, [subject], explain=True) == [Verdict(True)]
