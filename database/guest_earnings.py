"""What guests did and nobody was paid for yet: decisions that wait until a trusted source says whose they are."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import select, text, update

from database.earnings import Earning
from database.events import Event
from database.order_ids import ORDER_ID
from database.session import ReadSession, WriteSession
from domain.unpaid import Unpaid


async def wait_for_owner(session: WriteSession, ids: Collection[UUID], customer_id: UUID) -> None:
    """Turn decisions, whose points have been taken back, into those of a guest who may be this customer."""
    if ids:
        waiting = {"customer_id": customer_id, "points": 0, "reason": Unpaid.GUEST, "is_final": False}
        waiting |= {"credits": [], "taken_back": 0}
        await session.execute(update(Earning).where(Earning.id.in_(ids)).values(waiting))


_CLAIM = text("""
    DELETE FROM earnings
    WHERE programme = :programme AND reason = 'guest' AND customer_id = ANY(CAST(:ids AS uuid[]))
      AND NOT EXISTS (
          SELECT FROM events JOIN identities ON identities.kind = 'anonymous' AND identities.value = events.anonymous_id
          WHERE events.id = earnings.event_id AND events.user_id IS NULL AND identities.linked_trusted IS FALSE
      )
    RETURNING customer_id, event_id
""")


async def claim_guests(
    session: WriteSession, programme: str, customer_ids: Collection[UUID]
) -> list[tuple[UUID, Event]]:
    """Take the events that these customers did before we knew them and that earned nothing yet, each once.

    What only a browser says was theirs stays. Relies on pk_identities.
    """
    given = {"programme": programme, "ids": list(customer_ids)}
    owners = {event_id: customer_id for customer_id, event_id in await session.execute(_CLAIM, given)}
    rows = (await session.execute(select(Event).where(Event.id.in_(owners)))).scalars() if owners else ()
    return [(owners[row.id], row) for row in rows]


# By pk_identities; of the decisions by a guest only.
_CLAIMED_BY_BROWSERS = text(f"""
    SELECT coalesce({ORDER_ID}, events.message_id) AS what, customers.external_id AS who
    FROM earnings
    JOIN events ON events.id = earnings.event_id AND events.user_id IS NULL
    JOIN identities ON identities.kind = 'anonymous' AND identities.value = events.anonymous_id
        AND identities.linked_trusted IS FALSE
    JOIN customers ON customers.id = earnings.customer_id
    WHERE earnings.reason = 'guest'
    ORDER BY events.id DESC LIMIT :limit
""")  # noqa: S608  a condition, written in our own code


async def claimed_by_browsers(session: ReadSession, limit: int) -> list[str]:
    """What guests did that earns for nobody, since a browser alone says whose it was; the latest first."""
    rows = await session.execute(_CLAIMED_BY_BROWSERS, {"limit": limit})
    return [f"{row.what}: only a browser says that it is {row.who}'s" for row in rows]
