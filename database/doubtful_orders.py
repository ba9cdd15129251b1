"""Orders that figures may be wrong by: for `perennial doctor`."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import text

from database.order_ids import ORDER_ID
from database.session import ReadSession
from domain.commerce import MAKES_ORDERS

# Relies on ix_events_name_timestamp.
_NAMELESS: Final = text(f"""
    SELECT events.name AS name, count(*) AS events, max(events.timestamp) AS last_at
    FROM events
    WHERE events.name = ANY(CAST(:names AS text[])) AND events.timestamp >= :since AND events.trusted
      AND coalesce({ORDER_ID}, '') = ''
    GROUP BY events.name ORDER BY events.name
""")  # noqa: S608  a condition, written in our own code

_OVERSIZED: Final = text("""
    SELECT order_id, total, currency FROM orders
    WHERE completed_at >= :since AND currency = :currency AND total > :largest
    ORDER BY completed_at DESC, order_id LIMIT :limit
""")

# Relies on ix_earnings_order. Who told of an order that another customer had earned by, and has nothing by it.
_SHARED: Final = text("""
    SELECT DISTINCT second.order_id FROM earnings AS second
    JOIN earnings AS first ON first.order_id = second.order_id AND first.programme = second.programme
        AND first.customer_id <> second.customer_id AND first.is_final
    WHERE second.reason = 'already_earned' AND second.decided_at >= :since
    ORDER BY second.order_id LIMIT :limit
""")


async def nameless_orders(session: ReadSession, since: datetime) -> list[str]:
    """Events of orders that no order was kept of, since they name none."""
    rows = await session.execute(_NAMELESS, {"names": sorted(MAKES_ORDERS), "since": since})
    return [
        f"{row.events:,} events {row.name!r} without an order_id, the last of {row.last_at:%Y-%m-%d %H:%M}"
        for row in rows
    ]


async def oversized_orders(
    session: ReadSession, since: datetime, *, largest: int | None, currency: str, limit: int
) -> list[str]:
    """Orders of more than the shop says that an order can be; nothing where it says nothing."""
    if largest is None:
        return []
    given = {"since": since, "currency": currency, "largest": largest, "limit": limit}
    rows = await session.execute(_OVERSIZED, given)
    return [f"order {row.order_id}: {row.total} minor units of {row.currency}, above {largest}" for row in rows]


async def shared_order_ids(session: ReadSession, since: datetime, *, limit: int) -> list[str]:
    """Ids under which two customers have each told of an order: the second one earned nothing."""
    rows = await session.scalars(_SHARED, {"since": since, "limit": limit})
    return [f"order {order_id}: reported for two customers; only the first earned points" for order_id in rows]
