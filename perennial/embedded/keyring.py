"""The keys of a developer's machine: made once, kept beside the data, and made anew when the database is."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from database import keys
from database.session import Database, WriteSession
from domain.keys import KeyKind, Scope, read_id
from perennial.embedded.folder import write_private


@dataclass(frozen=True, slots=True)
class Keyring:
    """The three keys in their written form."""

    admin_key: str
    write_key: str
    browser_key: str


async def ensure_keys(url: str, path: Path) -> Keyring:
    """The keys in the file while the database still accepts them, else new ones, written there."""
    database = Database(url, pool_size=1)
    try:
        async with database.transaction() as session:
            kept = _read(path)
            if kept is not None and await _all_accepted(session, kept):
                return kept
            made = await _make(session)
        write_private(path, json.dumps(asdict(made), indent=2) + "\n")
        return made
    finally:
        await database.close()


def _read(path: Path) -> Keyring | None:
    try:
        return Keyring(**json.loads(path.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


async def _all_accepted(session: WriteSession, keyring: Keyring) -> bool:
    now = datetime.now(UTC)
    for written in asdict(keyring).values():
        key_id = read_id(written)
        key = await keys.find(session, key_id) if key_id else None
        if key is None or not key.accepts(written, now):
            return False
    return True


async def _make(session: WriteSession) -> Keyring:
    admin = await _anew(session, "developer", KeyKind.SECRET, Scope.ADMIN)
    write = await _anew(session, "shop", KeyKind.SECRET, Scope.EVENTS_WRITE)
    browser = await _anew(session, "website", KeyKind.BROWSER, Scope.EVENTS_WRITE)
    return Keyring(admin, write, browser)


async def _anew(session: WriteSession, name: str, kind: KeyKind, scope: Scope) -> str:
    """A key of that name; it replaces what is left of an earlier file's."""
    known = [key for key in await keys.everything(session) if key.source == name and key.kind is kind]
    for key in known:
        await keys.revoke(session, key.id, datetime.now(UTC))
    replaces = known[-1].id if known else None
    _, written = await keys.create(session, name, kind, frozenset({scope}), replaces=replaces)
    return written
