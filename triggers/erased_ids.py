"""Events of erased people at the router: what would bring one back goes, and no browser names an erased id again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import text

from database.customers import known_ids
from database.erasures import IdentityRef, anybody_was_erased, erased_since
from database.session import WriteSession
from domain.identities import IdKind, Key, Naming

_EVER = datetime.max.replace(tzinfo=UTC)

# Events of erased people that are older than the erasure, and imported ones of any time: they go, with their keys. An
# event that somebody else holds is left to them.
_DROP = text("""
    WITH gone AS (
        SELECT events.id, events.source, events.message_id
        FROM unnest(CAST(:ids AS uuid[]), CAST(:erased_at AS timestamptz[])) AS wanted (id, erased_at)
        JOIN events ON events.id = wanted.id
        WHERE events.status = 'pending' AND (events.timestamp <= wanted.erased_at OR events.is_history)
        ORDER BY events.id
        FOR UPDATE OF events SKIP LOCKED
    ), keys AS (
        DELETE FROM event_keys USING gone
        WHERE event_keys.source = gone.source AND event_keys.message_id = gone.message_id
    )
    DELETE FROM events USING gone WHERE events.id = gone.id RETURNING events.id
""")

# The erased ids leave the events too, so that nothing is stored under them.
_STRIP = text("""
    WITH held AS (
        SELECT events.id, wanted.strips_user, wanted.strips_previous
        FROM unnest(CAST(:ids AS uuid[]), CAST(:users AS boolean[]), CAST(:previous AS boolean[]))
            AS wanted (id, strips_user, strips_previous)
        JOIN events ON events.id = wanted.id
        WHERE events.status = 'pending'
        ORDER BY events.id
        FOR UPDATE OF events SKIP LOCKED
    )
    UPDATE events SET
        user_id = CASE WHEN strips_user THEN NULL ELSE user_id END,
        subject = CASE WHEN strips_user THEN 'a:' || anonymous_id ELSE subject END,
        previous_id = CASE WHEN strips_previous THEN NULL ELSE previous_id END
    FROM held WHERE events.id = held.id
    RETURNING events.id
""")


async def drop_what_was_erased(session: WriteSession, window: Sequence[Naming]) -> list[Naming]:
    """Pending events without those that would bring an erased person back.

    What a person does later is news again once a trusted source tells it. Until then, what a browser tells under an
    erased id stays with its anonymous id, and goes where it has none.
    """
    if not await anybody_was_erased(session):
        return list(window)
    erased = await erased_since(session, sorted({ref for naming in window for ref in _refs(naming)}))
    if not erased:
        return list(window)
    old = {naming.event_id: erased[_subject(naming)] for naming in window if _subject(naming) in erased}
    gone = await _drop(session, old)
    left = [naming for naming in window if naming.event_id not in gone]
    nobody = await _not_named_again(session, erased)
    return await _without(session, left, nobody) if nobody else left


async def _drop(session: WriteSession, until: Mapping[UUID, datetime]) -> set[UUID]:
    """Remove these events if they happened until then; answers which are gone."""
    if not until:
        return set()
    return set((await session.execute(_DROP, {"ids": list(until), "erased_at": list(until.values())})).scalars())


async def _not_named_again(session: WriteSession, erased: Iterable[IdentityRef]) -> set[str]:
    """Those of the erased ids under which nobody is known."""
    known = await known_ids(session, [Key(IdKind.USER, ref.value) for ref in erased])
    return {ref.value for ref in erased} - {key.value for key in known}


async def _without(session: WriteSession, window: Sequence[Naming], nobody: set[str]) -> list[Naming]:
    """The events without what browsers say of ids under which nobody is known since they were erased. An event that
    somebody else holds is left to them.
    """
    bare = {naming.event_id: naming for naming in _bared(window, nobody)}
    nameless = [id_ for id_, naming in bare.items() if naming.user_id is None and naming.anonymous_id is None]
    stripped = [naming for naming in window if bare[naming.event_id] != naming and naming.event_id not in nameless]
    await _drop(session, dict.fromkeys(nameless, _EVER))
    held = bare.keys() - set(nameless) - {naming.event_id for naming in stripped}
    if stripped:
        change = {
            "ids": [naming.event_id for naming in stripped],
            "users": [bare[naming.event_id].user_id != naming.user_id for naming in stripped],
            "previous": [bare[naming.event_id].previous_id != naming.previous_id for naming in stripped],
        }
        held |= set((await session.execute(_STRIP, change)).scalars())
    return [naming for id_, naming in bare.items() if id_ in held]


def _bared(window: Iterable[Naming], nobody: set[str]) -> Iterable[Naming]:
    """Each event as it may be taken in, in this order: from a trusted source's on, an id is somebody's again."""
    nobody = set(nobody)
    for naming in window:
        if naming.trusted:
            nobody -= {naming.user_id or "", naming.previous_id or ""}
            yield naming
            continue
        user_id = None if naming.user_id in nobody else naming.user_id
        previous_id = None if naming.previous_id in nobody else naming.previous_id
        yield replace(naming, user_id=user_id, previous_id=previous_id)


def _refs(naming: Naming) -> Iterable[IdentityRef]:
    """The ids that matter: whose event it is and, of a browser's alias, whom it speaks of."""
    yield _subject(naming)
    if not naming.trusted and naming.previous_id is not None:
        yield IdentityRef("user", naming.previous_id)
        yield IdentityRef("anonymous", naming.previous_id)


def _subject(naming: Naming) -> IdentityRef:
    """Whose event it is, before identities are resolved."""
    if naming.user_id is not None:
        return IdentityRef("user", naming.user_id)
    return IdentityRef("anonymous", naming.anonymous_id or "")
