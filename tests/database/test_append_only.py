"""What was written into the ledger stays: by right of the application's role, and by triggers for everybody else."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from database import points
from database.migrations.upgrade import upgrade
from database.session import Database
from domain.ids import new_id
from domain.points import Credit, CreditKind
from perennial.embedded.postgres import EmbeddedPostgres
from tests.factories import NOON

TABLES = ("point_transactions", "point_entries", "point_consumptions")
CHANGES = ("UPDATE {} SET transaction_id = transaction_id", "DELETE FROM {}", "TRUNCATE {} CASCADE")


@pytest.fixture
async def written(database: Database) -> Database:
    async with database.transaction() as session:
        credit = Credit(new_id(), "order-1", 100, CreditKind.EARN, NOON, "purchase")
        await points.post(session, "main", [credit], NOON)
    return database


async def test_the_application_owns_nothing_and_is_no_superuser(written: Database) -> None:
    async with written.read() as session:
        role = (await session.execute(text("SELECT * FROM pg_roles WHERE rolname = current_user"))).mappings().one()
        owned = await session.scalar(text("SELECT count(*) FROM pg_class WHERE relowner = current_user::regrole"))

    assert (role["rolname"], role["rolsuper"], role["rolcreaterole"], owned) == ("perennial_app", False, False, 0)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("change", CHANGES)
async def test_the_application_may_not_change_what_is_written(written: Database, table: str, change: str) -> None:
    column = "id = id" if table == "point_transactions" else "transaction_id = transaction_id"
    statement = change.format(table).replace("transaction_id = transaction_id", column)

    with pytest.raises(DBAPIError, match="permission denied"):
        await _execute(written, statement)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("change", CHANGES)
async def test_not_even_the_owner_changes_what_is_written(
    written: Database, database_url: str, table: str, change: str
) -> None:
    column = "id = id" if table == "point_transactions" else "transaction_id = transaction_id"
    owner = await asyncpg.connect(database_url)

    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await owner.execute(change.format(table).replace("transaction_id = transaction_id", column))
    await owner.close()


async def test_entries_that_do_not_sum_to_zero_are_refused(written: Database) -> None:
    statement = """
        INSERT INTO point_entries (programme, account, number, bucket, amount, transaction_id)
        SELECT programme, account, 99, 'available', 1_000_000, id FROM point_transactions
    """

    with pytest.raises(DBAPIError, match="sum to zero"):
        await _execute(written, statement)


async def test_tables_of_later_migrations_are_the_applications_to_use(written: Database, database_url: str) -> None:
    owner = await asyncpg.connect(database_url)
    await owner.execute("CREATE TABLE later (id bigint GENERATED ALWAYS AS IDENTITY, word text)")
    await owner.close()

    await _execute(written, "INSERT INTO later (word) VALUES ('hello')")


async def test_an_owner_who_may_not_make_roles_migrates_once_an_administrator_made_it(
    postgres: EmbeddedPostgres, written: Database
) -> None:
    """Managed databases give their owner no right to make roles; `written` has migrated, so the role is there."""
    administrator = await asyncpg.connect(postgres.url("postgres"))
    name = f"modest_{new_id().hex}"
    await administrator.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'modest'")
    await administrator.execute(f"GRANT perennial_app TO {name}")
    await administrator.execute(f"CREATE DATABASE {name} OWNER {name}")
    host = postgres.url(name).rpartition("@")[2]
    url = f"postgresql://{name}:modest@{host}"
    try:
        await asyncio.to_thread(upgrade, url)
        modest = Database(url, pool_size=1)
        async with modest.read() as session:
            assert await session.scalar(text("SELECT current_user")) == "perennial_app"
        await modest.close()
    finally:
        await administrator.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await administrator.execute(f"DROP ROLE {name}")
        await administrator.close()


async def _execute(database: Database, statement: str) -> None:
    async with database.transaction() as session:
        await session.execute(text(statement))
