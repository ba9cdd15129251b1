"""What all commands share: the terminal, the settings, and faults told as one sentence instead of a stack of frames."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import typer
from pydantic import SecretStr, ValidationError
from rich.console import Console

from domain.errors import PerennialError
from perennial.embedded.announcement import announcement
from perennial.settings import Settings

T = TypeVar("T")

console = Console()
errors = Console(stderr=True)


def load_settings() -> Settings:
    """The settings of this deployment; ends the command with a sentence for each that is wrong.

    Where neither the environment nor `.env` says it, the servers are those of the `perennial up` that runs here.
    """
    try:
        return _beside_what_runs_here(Settings())
    except ValidationError as error:
        for fault in error.errors(include_input=False, include_url=False):
            name = "_".join(["PERENNIAL", *(str(part).upper() for part in fault["loc"])])
            errors.print(f"[red]{name}:[/red] {fault['msg'].removeprefix('Value error, ')}")
        raise typer.Exit(2) from None


def _beside_what_runs_here(settings: Settings) -> Settings:
    running = announcement(settings.data_dir)
    unsaid: dict[str, object] = {}
    if "database_url" in running and "database_url" not in settings.model_fields_set:
        unsaid["database_url"] = SecretStr(running["database_url"])
    if "temporal_address" in running and "temporal_address" not in settings.model_fields_set:
        unsaid["temporal_address"] = running["temporal_address"]
    if running and settings.journal_dir is None:
        unsaid["journal_dir"] = settings.data_dir / "journal"
    return settings.model_copy(update=unsaid)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work to its end; our own refusals and an unreachable database end it with exit code 1."""
    with faults_told():
        return asyncio.run(work)


@contextmanager
def faults_told() -> Iterator[None]:
    """Turn expected faults into one sentence and exit code 1. A defect keeps its traceback."""
    from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError

    from database.outages import LOCK_TIMEOUT, sqlstate_of

    try:
        yield
    except PerennialError as error:
        sentence = error.detail
        for fault in error.errors:
            sentence += f"\n  {fault.pointer}: {fault.detail}"
        raise _told(sentence) from None
    except (DataError, IntegrityError, ProgrammingError):
        raise  # a defect of ours, not a database that is away
    except (ConnectionError, DBAPIError) as error:
        if sqlstate_of(error) == LOCK_TIMEOUT:
            raise _told(
                "A lock in the database is in the way: somebody holds a table or rows (pg_locks names them). "
                "Wait until it is released, or end who holds it, and try again."
            ) from None
        reason = getattr(error, "orig", None) or error
        raise _told(f"The database cannot be used: {reason}\nIs PERENNIAL_DATABASE_URL right?") from None


def _told(sentence: str) -> typer.Exit:
    errors.print(sentence, style="red", markup=False, highlight=False)
    return typer.Exit(1)
