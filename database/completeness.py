"""Whether a database has all that a backup brings: a restore shows its tables before their rows."""

from __future__ import annotations

from sqlalchemy import text

from database.migrations.upgrade import current_revision, newest_revision, serves
from database.session import Database
from database.tables import metadata
from domain.errors import Unavailable

# PostgreSQL's own tools make a table's primary key after they have brought its rows, in whatever order and number.
_WHOLE = text("""
    SELECT relname FROM pg_class JOIN pg_index ON indrelid = pg_class.oid AND indisprimary AND indisvalid
    WHERE relnamespace = current_schema()::regnamespace
""")


async def check_complete(database: Database) -> None:
    """Raises Unavailable `database_incomplete` while tables or rows are missing, or the schema is an older one."""
    async with database.read() as session:
        missing = set(metadata.tables) - set(await session.scalars(_WHOLE))
        revision = await current_revision(session) if "restore_journal" not in missing else None
    if missing and not revision:
        raise Unavailable("The database is not complete: let the restore end first.", code="database_incomplete")
    if not serves(revision):
        detail = f"The schema is at revision {revision}, {newest_revision()} is needed: run perennial migrate first."
        raise Unavailable(detail, code="database_incomplete")
    if missing:
        detail = f"Tables are missing or not complete ({min(missing)}): let the restore end first."
        raise Unavailable(detail, code="database_incomplete")
