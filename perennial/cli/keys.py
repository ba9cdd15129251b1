"""`perennial keys`: API keys, shown once and stored as a hash."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from domain.keys import KeyKind, Scope
from perennial.cli.terminal import console, load_settings, run

if TYPE_CHECKING:
    from domain.keys import StoredKey

_keys = typer.Typer(
    help="Create, list, rotate and revoke API keys.",
    rich_markup_mode="rich",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(_keys, name="keys")


@_keys.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What the key is for; also the source of the events it brings.")],
    scope: Annotated[list[Scope] | None, typer.Option(help="What it may do; repeat for several.")] = None,
    browser: Annotated[bool, typer.Option("--browser", help="A public key for web pages: behaviour only.")] = False,
    replaces: Annotated[str | None, typer.Option(help="The id of a revoked key whose source it takes over.")] = None,
) -> None:
    """Make a key and show it, this once. Only its hash is stored.

    Its name is its source, which no other key may have: message ids are unique within a source.

    [dim]Examples:[/dim]
      perennial keys create shop-backend --scope events:write
      perennial keys create shop-website --browser
      perennial keys create ops --scope admin
      perennial keys create shop-backend-2 --scope events:write --replaces 3kTq0ZbW1xYc
    """
    kind = KeyKind.BROWSER if browser else KeyKind.SECRET
    scopes = frozenset(scope or [Scope.EVENTS_WRITE])
    console.print(run(_create(name, kind, scopes, replaces)), soft_wrap=True, highlight=False)


@_keys.command("list")
def list_keys() -> None:
    """Show all keys with their scopes and last use; never the keys themselves."""
    table = Table("id", "name", "kind", "scopes", "last used", "state")
    for key in run(_everything()):
        table.add_row(key.id, key.name, key.kind, " ".join(sorted(key.scopes)), _shown(key.last_used_at), _state(key))
    console.print(table)


@_keys.command("rotate")
def rotate(
    key_id: Annotated[str, typer.Argument(help="The id, as `perennial keys list` shows it.")],
    overlap_hours: Annotated[float, typer.Option(min=0, help="How long the old secret stays good.")] = 24,
) -> None:
    """Give a key a new secret and show it, this once; the old one stays good for a while.

    [dim]Example:[/dim]
      perennial keys rotate 3kTq0ZbW1xYc --overlap-hours 48
    """
    console.print(run(_rotate(key_id, timedelta(hours=overlap_hours))), soft_wrap=True, highlight=False)


@_keys.command("revoke")
def revoke(key_id: Annotated[str, typer.Argument(help="The id, as `perennial keys list` shows it.")]) -> None:
    """End a key for good, at once.

    [dim]Example:[/dim]
      perennial keys revoke 3kTq0ZbW1xYc
    """
    run(_revoke(key_id))
    console.print(f"{key_id} is revoked.")


@_keys.command("refused")
def refused() -> None:
    """Show the keys that may write journeys, and what they cannot publish or enter: ask before an upgrade.

    A key needs the scopes of what the steps do. Journeys that are live go on whoever published them.

    [dim]Example:[/dim]
      perennial keys refused
    """
    found = run(_refused())
    for line in found or ["Every key that may write journeys may publish and enter all that are live."]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


@_keys.command("webhook")
def webhook() -> None:
    """Show the secret that signs outgoing webhooks (Standard Webhooks), for the shop to verify them with.

    [dim]Example:[/dim]
      perennial keys webhook
    """
    console.print(run(_webhook()), soft_wrap=True, highlight=False)


async def _create(name: str, kind: KeyKind, scopes: frozenset[Scope], replaces: str | None) -> str:
    from database import keys as stored
    from perennial.composition import open_database

    async with open_database(load_settings(), "keys") as database, database.transaction() as session:
        _, written = await stored.create(session, name, kind, scopes, replaces=replaces)
        return written


async def _everything() -> list[StoredKey]:
    from database import keys as stored
    from perennial.composition import open_database

    async with open_database(load_settings(), "keys") as database, database.read() as session:
        return list(await stored.everything(session))


async def _refused() -> list[str]:
    from database.definitions import live_journeys
    from domain.journeys.step_scopes import lacking
    from perennial.composition import open_database

    async with open_database(load_settings(), "keys") as database, database.read() as session:
        definitions = await live_journeys(session)
    return [
        f"{key.id} {key.name}: lacks {' '.join(scopes)} for {journey}"
        for key in await _everything()
        if key.revoked_at is None and key.may(Scope.JOURNEYS_WRITE)
        for journey, scopes in lacking(definitions, key).items()
    ]


async def _rotate(key_id: str, overlap: timedelta) -> str:
    from database import keys as stored
    from perennial.composition import open_database

    async with open_database(load_settings(), "keys") as database, database.transaction() as session:
        return await stored.rotate(session, key_id, datetime.now(UTC), overlap)


async def _webhook() -> str:
    from perennial.composition import open_database
    from perennial.workers import webhook_secret

    settings = load_settings()
    async with open_database(settings, "keys") as database:
        return await webhook_secret(settings, database)


async def _revoke(key_id: str) -> None:
    from database import keys as stored
    from perennial.composition import open_database

    async with open_database(load_settings(), "keys") as database, database.transaction() as session:
        await stored.revoke(session, key_id, datetime.now(UTC))


def _shown(moment: datetime | None) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC") if moment else "never"


def _state(key: StoredKey) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return f"rotating until {_shown(key.previous_until)}" if key.previous_until else "active"
