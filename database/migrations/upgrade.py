"""Brings a database to the newest schema, and tells whether it is there."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text

from database.session import ReadSession

_HERE = Path(__file__).parent


def upgrade(url: str) -> None:
    """Run every migration that is missing. Blocking; safe to call from several processes at once."""
    command.upgrade(_config(url), "head")


def newest_revision() -> str | None:
    """The revision that this code expects."""
    return ScriptDirectory.from_config(_config("")).get_current_head()


async def current_revision(session: ReadSession) -> str | None:
    """The revision the database stands at; None when it was never migrated."""
    exists = await session.scalar(text("SELECT to_regclass('alembic_version')"))
    return await session.scalar(text("SELECT version_num FROM alembic_version")) if exists else None


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_HERE))
    config.set_main_option("database_url", url.replace("%", "%%"))
    return config
