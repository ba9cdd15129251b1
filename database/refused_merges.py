"""Merges of customers that were refused, each pair of ids once, until a person looks at them.

They stay after a person has made the merge; whoever reads them leaves out pairs that are one customer by now.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import orjson
from sqlalchemy import ForeignKey, Index, PrimaryKeyConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from database.base import Table
from database.session import ReadSession, WriteSession
from domain.identity_resolution import Refusal


class RefusedMerge(Table):
    """An alias of `previous_id` to `user_id` that was not followed. `times`: how often it has been asked for."""

    __tablename__ = "refused_merges"

    user_id: Mapped[str]
    previous_id: Mapped[str]
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))  # whose `user_id` is
    reason: Mapped[str]  # domain.identities.Refused, of the last time
    event_id: Mapped[UUID]
    refused_at: Mapped[datetime]
    times: Mapped[int]

    __table_args__ = (
        PrimaryKeyConstraint("user_id", "previous_id"),
        Index("ix_refused_merges_customer_id", "customer_id"),
        Index("ix_refused_merges_previous_id", "previous_id"),
    )


# A browser's alias of an anonymous id is an everyday link: refused is only one that names another customer's user id.
# Sorted by key, so that routers that meet the same pairs never deadlock.
_REFUSE = text("""
    INSERT INTO refused_merges AS known (user_id, previous_id, customer_id, reason, event_id, refused_at, times)
    SELECT user_id, previous_id, customer_id, reason, event_id, :as_of, times
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
        user_id text, previous_id text, customer_id uuid, reason text, event_id uuid, times bigint
    )
    WHERE reason <> 'untrusted' OR EXISTS (
        SELECT FROM identities
        WHERE kind = 'user' AND value = r.previous_id AND identities.customer_id <> r.customer_id
    )
    ORDER BY user_id, previous_id
    ON CONFLICT (user_id, previous_id) DO UPDATE SET
        customer_id = excluded.customer_id, reason = excluded.reason, event_id = excluded.event_id,
        refused_at = excluded.refused_at, times = known.times + excluded.times
    RETURNING reason
""")

# Those whose ids are still two customers', the latest first.
_OPEN = text("""
    SELECT refused.user_id, refused.previous_id, refused.reason, refused.times, refused.refused_at
    FROM refused_merges AS refused
    WHERE NOT EXISTS (
        SELECT FROM identities
        WHERE kind = 'user' AND value = refused.previous_id AND identities.customer_id = refused.customer_id
    )
    ORDER BY refused.refused_at DESC, refused.user_id, refused.previous_id
    LIMIT :limit
""")


@dataclass(frozen=True, slots=True)
class OpenRefusal:
    """A pair of ids that were not made one customer's, and are not by now."""

    user_id: str
    previous_id: str
    reason: str
    times: int
    refused_at: datetime


async def refuse_merges(session: WriteSession, refusals: Sequence[Refusal], as_of: datetime) -> Counter[str]:
    """Keep these; answers how many were kept, by reason."""
    if not refusals:
        return Counter()
    rows = orjson.dumps(_rows(refusals)).decode()
    return Counter((await session.execute(_REFUSE, {"rows": rows, "as_of": as_of})).scalars())


async def open_refusals(session: ReadSession, limit: int) -> list[OpenRefusal]:
    """The latest refused merges of customers who are still two."""
    return [OpenRefusal(*row) for row in await session.execute(_OPEN, {"limit": limit})]


def _rows(refusals: Iterable[Refusal]) -> list[dict[str, object]]:
    """One for each pair of ids."""
    latest = {(each.user_id, each.previous_id): each for each in refusals}
    times = Counter((each.user_id, each.previous_id) for each in refusals)
    return [
        {
            "user_id": each.user_id,
            "previous_id": each.previous_id,
            "customer_id": each.customer_id,
            "reason": each.reason,
            "event_id": each.event_id,
            "times": times[pair],
        }
        for pair, each in latest.items()
    ]
