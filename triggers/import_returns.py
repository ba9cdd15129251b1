"""Rows that go back to what an import said before another import said otherwise (gold, silver, gold): they count again.

A row's message id is made of its content, so without this the third file would be taken for the first one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from sqlalchemy import text

from database.session import WriteSession
from domain.events import EventKind, NewEvent
from domain.imported_rows import SOURCE

# Which of these the importer has taken before. By pk_event_keys.
_TAKEN = text("SELECT message_id FROM event_keys WHERE source = :source AND message_id = ANY(:ids)")

# How the customers stand, and who wrote it. By pk_identities.
_PROFILES = text("""
    SELECT identities.value AS user_id, customers.traits, customers.trait_times
    FROM identities JOIN customers ON customers.id = identities.customer_id
    WHERE identities.kind = 'user' AND identities.value = ANY(:user_ids)
""")

# Which of these events an import brought. By pk_events.
_IMPORTED = text("SELECT id, user_id FROM events WHERE id = ANY(:ids) AND source = :source")

# What imports have said that waits to be routed. By ix_events_pending_subject.
_WAITING = text("""
    SELECT id, user_id, timestamp, traits FROM events
    WHERE status = 'pending' AND subject = ANY(:subjects) AND source = :source AND kind = 'identify'
    ORDER BY timestamp, sent, id
""")

Numbered = tuple[int, list[NewEvent]]  # the row's number and what it becomes


@dataclass(frozen=True, slots=True)
class _Word:
    """What a trait is, by which event of which time."""

    value: Any  # any JSON
    at: datetime
    event_id: UUID


async def count_returns(session: WriteSession, rows: Sequence[Numbered]) -> list[Numbered]:
    """The rows of customers, those with message ids of their own that go back to what was said of the same customer.

    All rows of a customer are judged together, by what they say in the end: a file that comes again changes nothing.
    """
    said: dict[str, dict[str, tuple[Any, datetime]]] = defaultdict(dict)
    ids: dict[str, set[str]] = defaultdict(set)
    for event in _identifies(rows):
        said[event.user_id or ""] |= {name: (value, event.timestamp) for name, value in event.traits.items()}
        ids[event.user_id or ""].add(event.message_id)
    wanted = {"source": SOURCE, "ids": sorted(set().union(*ids.values()))}
    taken = set(await session.scalars(_TAKEN, wanted)) if said else set()
    known = {user_id: said[user_id] for user_id, own in ids.items() if own & taken}
    words = await _words_of_imports(session, known) if known else {}
    since = {user_id: _otherwise(told, words.get(user_id, {})) for user_id, told in known.items()}
    return [(number, [_again(event, since.get(event.user_id or "")) for event in row]) for number, row in rows]


def _identifies(rows: Iterable[Numbered]) -> Iterable[NewEvent]:
    return (event for _, row in rows for event in row if event.kind is EventKind.IDENTIFY)


def _otherwise(told: Mapping[str, tuple[Any, datetime]], words: Mapping[str, _Word]) -> UUID | None:
    """The latest event of an import that says otherwise and would not outlast what is told now."""
    found = [
        word
        for name, (value, at) in told.items()
        if (word := words.get(name)) is not None and word.value != value and word.at <= at
    ]
    return max(((word.at, word.event_id) for word in found), default=(None, None))[1]


def _again(event: NewEvent, since: UUID | None) -> NewEvent:
    """The id names what the row goes back from, so that the same row comes to the same id again."""
    if since is None:
        return event
    digest = sha256(f"{event.message_id} {since}".encode()).hexdigest()
    return replace(event, message_id=f"{event.message_id.partition('/')[0]}/{digest[:40]}")


async def _words_of_imports(session: WriteSession, users: Iterable[str]) -> Mapping[str, dict[str, _Word]]:
    """Of each customer the traits that an import wrote last under the same id. The others are somebody else's word."""
    words: dict[str, dict[str, _Word]] = defaultdict(dict)
    user_ids = sorted(users)
    for row in await session.execute(_PROFILES, {"user_ids": user_ids}):
        for name, (at, _, event_id, *_) in ((each, time) for each, time in row.trait_times.items() if len(time) > 3):
            words[row.user_id][name] = _Word(row.traits.get(name), datetime.fromisoformat(at), UUID(event_id))
    writers = sorted({word.event_id for own in words.values() for word in own.values()})
    theirs = {row.id: row.user_id for row in await session.execute(_IMPORTED, {"ids": writers, "source": SOURCE})}
    words = defaultdict(
        dict,
        {
            user_id: {name: word for name, word in own.items() if theirs.get(word.event_id) == user_id}
            for user_id, own in words.items()
        },
    )
    subjects = [f"u:{user_id}" for user_id in user_ids]
    for row in await session.execute(_WAITING, {"subjects": subjects, "source": SOURCE}):
        words[row.user_id] |= {name: _Word(value, row.timestamp, row.id) for name, value in row.traits.items()}
    return words
