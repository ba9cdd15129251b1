"""Mail that left to an address whose suppression a restore had undone, before the restore journal was replayed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Row, func, select, text

from database.messages import Message
from database.secrets import PSEUDONYMS, known_secret
from database.session import ReadSession
from domain.messages import LONGEST_TRY, RESERVED
from domain.pseudonyms import address_pseudonyms
from domain.suppressions import covers

# What was done again has a hash and no address. Erasures blank addresses, too; their messages show none to compare.
# From when it was noted, as the gate knew it from then on, until it was done again.
_DONE_AGAIN = text("""
    SELECT s.channel, s.address_hash, s.reason, j.at + interval '1 second' AS noted_at,
        least(j.written_at, s.until, s.released_at) AS known_at
    FROM suppressions s JOIN restore_journal j ON j.entry ->> 'kind' = 'suppressed'
        AND j.entry ->> 'address' = encode(s.address_hash, 'hex') AND j.entry ->> 'channel' = s.channel
        AND j.entry ->> 'reason' = s.reason AND CAST(j.entry ->> 'at' AS timestamptz) = s.at
    WHERE s.address IS NULL AND s.reason NOT IN ('erased', 'withdrawn') AND j.written_at > :since
""")


class _Gap(NamedTuple):
    """A suppression, and between when it was not known here."""

    reason: str
    start: datetime
    end: datetime


async def sent_before_done_again(session: ReadSession, since: datetime, limit: int) -> Sequence[str]:
    """Ids of messages that a provider was called for since then, though their address had been suppressed. Reads the
    messages of the time for which suppressions were forgotten, and no others; their addresses are hashed here.
    """
    key = await known_secret(session, PSEUDONYMS)
    gaps: dict[tuple[str, bytes], list[_Gap]] = defaultdict(list)
    for row in await session.execute(_DONE_AGAIN, {"since": since}):
        gaps[row.channel, row.address_hash].append(_Gap(row.reason, row.noted_at, row.known_at))
    if key is None or not gaps:
        return []
    each_gap = [gap for theirs in gaps.values() for gap in theirs]
    start, end = max(since, min(gap.start for gap in each_gap)), max(gap.end for gap in each_gap)
    called_at = func.coalesce(Message.called_at, Message.attempting_at).label("called_at")
    called = select(Message.id, Message.channel, Message.purpose, Message.to, called_at).where(
        Message.created_at.between(start - LONGEST_TRY - timedelta(days=1), end),
        called_at.between(start, end),
        Message.state.in_(RESERVED),
        Message.customer_id.is_not(None),
        Message.to.is_not(None),
    )
    found: list[str] = []
    async for message in await session.stream(called):  # by a cursor, however many they are
        if len(found) < limit and _was_forgotten(message, key, gaps):
            found.append(str(message.id))
    return found


def _was_forgotten(message: Row[*tuple[Any, ...]], key: bytes, gaps: Mapping[tuple[str, bytes], list[_Gap]]) -> bool:
    hashes = address_pseudonyms(key, message.channel, message.to)
    return any(
        gap.start < message.called_at < gap.end and covers(gap.reason, message.purpose)
        for each in hashes
        for gap in gaps.get((message.channel, each), ())
    )
