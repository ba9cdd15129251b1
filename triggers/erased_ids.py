"""Events of erased people at the router: what would bring one back goes, and nobody but a trusted source, by more than
an alias, names an erased id again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from database.customers import known_ids
from database.erased_events import replayed
from database.erasures import IdentityRef, anybody_was_erased, erased_since
from database.session import WriteSession
from domain.identities import IdKind, Key, Naming

# The pending ones of these events, held until the transaction ends; what somebody else holds is left to them.
_HOLD = text("""
    SELECT id, source, message_id, timestamp, sent, sent_timestamp, is_history FROM events
    WHERE id = ANY(CAST(:ids AS uuid[])) AND status = 'pending'
    ORDER BY id
    FOR UPDATE SKIP LOCKED
""")

_DROP = text("""
    WITH gone AS (
        DELETE FROM events WHERE id = ANY(CAST(:ids AS uuid[])) RETURNING source, message_id
    )
    DELETE FROM event_keys USING gone
    WHERE event_keys.source = gone.source AND event_keys.message_id = gone.message_id
""")

# The erased ids leave the events too, so that nothing is stored under them.
_STRIP = text("""
    UPDATE events SET
        user_id = wanted.user_id, anonymous_id = wanted.anonymous_id, previous_id = wanted.previous_id,
        subject = CASE WHEN wanted.user_id IS NULL THEN 'a:' || wanted.anonymous_id ELSE subject END
    FROM unnest(
        CAST(:ids AS uuid[]), CAST(:users AS text[]), CAST(:anonymous AS text[]), CAST(:previous AS text[])
    ) AS wanted (id, user_id, anonymous_id, previous_id)
    WHERE events.id = wanted.id
""")


async def drop_what_was_erased(session: WriteSession, window: Sequence[Naming]) -> list[Naming]:
    """Pending events without those that would bring an erased person back: what happened or was sent before the
    erasure, what was taken before, and history. The caller holds the locks of the customers that the events name.

    What a person does later is news again once a trusted source tells it. Until then, what a browser tells under an
    erased id stays with its anonymous id, and goes where it has none; an alias brings nobody back, whoever sends it.
    """
    if not await anybody_was_erased(session):
        return list(window)
    erased = await erased_since(session, sorted({ref for naming in window for ref in _refs(naming)}))
    if not erased:
        return list(window)
    concerned = [naming for naming in window if any(ref in erased for ref in _refs(naming))]
    held = {row.id: row for row in await session.execute(_HOLD, {"ids": [each.event_id for each in concerned]})}
    again = await replayed(session, {id_: (row.source, row.message_id) for id_, row in held.items()})
    users = {ref.value for ref in erased if ref.kind == "user"}
    judge = _Judge(erased, held, again, await not_named_again(session, users))
    bare = {naming.event_id: judge.bare(naming) for naming in concerned if naming.event_id in held}
    await _drop(session, [id_ for id_, naming in bare.items() if naming is None])
    before = {naming.event_id: naming for naming in concerned}
    await _strip(session, [naming for id_, naming in bare.items() if naming is not None and naming != before[id_]])
    left = (bare.get(naming.event_id) if naming.event_id in before else naming for naming in window)
    return [naming for naming in left if naming is not None]


@dataclass(slots=True)
class _Judge:
    """What each event may be taken in as, in order: from a trusted source's on, an id is somebody's again."""

    erased: Mapping[IdentityRef, datetime]
    held: Mapping[UUID, Any]  # rows of _HOLD
    replayed: set[UUID]
    nobody: set[str]  # erased user ids under which nobody is known

    def bare(self, naming: Naming) -> Naming | None:
        """The event without what would bring somebody back; None if nothing is left of it."""
        if self._is_old(naming, _subject(naming)):
            return None
        if naming.previous_id is not None and self._is_gone(naming, naming.previous_id):
            naming = replace(naming, previous_id=None)
        visitor = IdentityRef("anonymous", naming.anonymous_id or "")
        if naming.user_id is not None and self._is_old(naming, visitor):
            naming = replace(naming, anonymous_id=None)
        if naming.user_id in self.nobody and (not naming.trusted or naming.is_alias):
            return None if naming.anonymous_id is None or naming.trusted else replace(naming, user_id=None)
        self.nobody.discard(naming.user_id or "")
        return naming

    def _is_gone(self, naming: Naming, previous_id: str) -> bool:
        kinds = (IdentityRef("user", previous_id), IdentityRef("anonymous", previous_id))
        return previous_id in self.nobody or any(self._is_old(naming, ref) for ref in kinds)

    def _is_old(self, naming: Naming, ref: IdentityRef) -> bool:
        """Whether it is of the time before this id was erased, by whatever word there is about that."""
        since = self.erased.get(ref)
        if since is None:
            return False
        row = self.held[naming.event_id]
        if row.timestamp <= since or naming.event_id in self.replayed:
            return True
        is_living = ref.kind == "user" and ref.value not in self.nobody
        return not is_living and (row.is_history or row.sent <= since or _is_before(row.sent_timestamp, since))


def _is_before(claimed: str | None, since: datetime) -> bool:
    """Whether the sender's own word, which a wrong clock had corrected, is of before."""
    try:
        return claimed is not None and datetime.fromisoformat(claimed) <= since
    except (TypeError, ValueError):  # without a zone, or in another form
        return False


async def not_named_again(session: WriteSession, erased: set[str]) -> set[str]:
    """Those of the erased user ids under which nobody is known."""
    return erased - {key.value for key in await known_ids(session, [Key(IdKind.USER, each) for each in erased])}


async def _drop(session: WriteSession, ids: Sequence[UUID]) -> None:
    if ids:
        await session.execute(_DROP, {"ids": ids})


async def _strip(session: WriteSession, namings: Sequence[Naming]) -> None:
    if namings:
        change = {
            "ids": [naming.event_id for naming in namings],
            "users": [naming.user_id for naming in namings],
            "anonymous": [naming.anonymous_id for naming in namings],
            "previous": [naming.previous_id for naming in namings],
        }
        await session.execute(_STRIP, change)


def _refs(naming: Naming) -> Iterable[IdentityRef]:
    """The ids that matter: whose event it is, whose browser, and of an alias whom it speaks of."""
    yield _subject(naming)
    if naming.anonymous_id is not None:
        yield IdentityRef("anonymous", naming.anonymous_id)
    if naming.previous_id is not None:
        yield IdentityRef("user", naming.previous_id)
        yield IdentityRef("anonymous", naming.previous_id)


def _subject(naming: Naming) -> IdentityRef:
    """Whose event it is, before identities are resolved."""
    if naming.user_id is not None:
        return IdentityRef("user", naming.user_id)
    return IdentityRef("anonymous", naming.anonymous_id or "")
