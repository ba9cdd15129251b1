"""What untrusted runs may still give: to whom, and how much of it they gave so far."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text

from database.session import ReadSession
from database.superseding import NEVER_TRUSTED, SENT_NOTHING
from database.vouching import VOUCHED

_BY_OTHERS: Final = f"events.number IS NOT NULL AND NOT own AND source <> 'perennial' AND {VOUCHED}"
"""Of a row of `events`: what our own steps record shows nothing, a browser may have set it off."""

# Both by ix_events_customer_number.
_HAS_TRUSTED_EVENT = text(f"""
    SELECT EXISTS (SELECT FROM events WHERE customer_id = :customer_id AND {_BY_OTHERS})
""")  # noqa: S608  a condition, written in our own code
_TRUSTED_SINCE = text(f"""
    SELECT customer_id, min(timestamp) AS since FROM events WHERE customer_id = ANY(:customer_ids) AND {_BY_OTHERS}
    GROUP BY customer_id
""")  # noqa: S608  the same

# By ix_runs_customer and pk_run_steps.
_GIVEN = text("""
    SELECT count(*) FROM run_steps JOIN runs ON runs.id = run_steps.run_id
    WHERE runs.customer_id = :customer_id AND run_steps.kind = 'reward' AND run_steps.outcome = 'done'
      AND run_steps.detail ->> 'untrusted' = :reward
      AND (CAST(:since AS timestamptz) IS NULL OR run_steps.at > :since)
""")


# By ix_runs_customer and pk_run_steps. What has lapsed or was taken back is nobody's.
_UNTOLD = text(f"""
    SELECT redemptions.id FROM runs
    JOIN run_steps ON run_steps.run_id = runs.id AND run_steps.kind = 'reward' AND run_steps.outcome = 'done'
        AND run_steps.detail ->> 'untrusted' = :reward
    JOIN redemptions ON redemptions.id = CAST(run_steps.detail ->> 'redemption_id' AS uuid)
        AND redemptions.state NOT IN ('cancelled', 'expired')
    WHERE runs.customer_id = :customer_id AND runs.journey = :journey AND runs.state <> 'active'
      AND {NEVER_TRUSTED} AND {SENT_NOTHING}
      AND NOT EXISTS (
          SELECT FROM runs AS others JOIN run_steps AS steps ON steps.run_id = others.id AND steps.kind = 'reward'
          WHERE others.customer_id = :customer_id AND others.journey = :journey
            AND steps.detail ->> 'told_for' = run_steps.detail ->> 'redemption_id'
      )
    ORDER BY run_steps.at, run_steps.step, run_steps.visit LIMIT 1
""")  # noqa: S608  conditions, written in our own code


# For `perennial doctor`. What an erased customer's steps gave is written down no longer.
GIFTS: Final = """
    SELECT run_steps.run_id || '/' || run_steps.step FROM run_steps
    JOIN runs ON runs.id = run_steps.run_id
    JOIN customers ON customers.id = runs.customer_id AND customers.erased_at IS NULL
    WHERE runs.untrusted IS NOT NULL AND run_steps.kind IN ('points', 'reward') AND run_steps.outcome = 'done'
      AND run_steps.at > CAST(runs.untrusted ->> 'at' AS timestamptz) AND NOT run_steps.detail ? 'untrusted'
"""


async def has_trusted_event(session: ReadSession, customer_id: UUID) -> bool:
    """Whether anything but browsers ever told of the customer."""
    return bool(await session.scalar(_HAS_TRUSTED_EVENT, {"customer_id": customer_id}))


async def trusted_since(session: ReadSession, customer_ids: Collection[UUID]) -> dict[UUID, datetime]:
    """The time of the first event of which anything but browsers told, of those who have one."""
    rows = await session.execute(_TRUSTED_SINCE, {"customer_ids": list(customer_ids)})
    return {row.customer_id: row.since for row in rows}


async def untold_gift(session: ReadSession, customer_id: UUID, journey: str, reward: str) -> UUID | None:
    """The redemption that a browser's run of the journey gave and no message told of, unless a run took it over."""
    asked = {"customer_id": customer_id, "journey": journey, "reward": reward}
    found: UUID | None = await session.scalar(_UNTOLD, asked)
    return found


async def given_in_untrusted_runs(session: ReadSession, customer_id: UUID, reward: str, since: datetime | None) -> int:
    """How many of a reward the customer got in untrusted runs, of whatever journey, since a moment (None: ever)."""
    asked = {"customer_id": customer_id, "reward": reward, "since": since}
    return int(await session.scalar(_GIVEN, asked) or 0)
