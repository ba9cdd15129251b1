"""What untrusted runs may still give: to whom, and how much of it they gave so far."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text

from database.session import ReadSession
from database.vouching import VOUCHED

# By ix_events_customer_number. What our own steps record shows nothing: a browser may have set it off.
_HAS_TRUSTED_EVENT = text(f"""
    SELECT EXISTS (
        SELECT FROM events
        WHERE customer_id = :customer_id AND number IS NOT NULL AND NOT own AND source <> 'perennial' AND {VOUCHED}
    )
""")  # noqa: S608  a condition, written in our own code

# By ix_runs_customer and pk_run_steps.
_GIVEN = text("""
    SELECT count(*) FROM run_steps JOIN runs ON runs.id = run_steps.run_id
    WHERE runs.customer_id = :customer_id AND run_steps.kind = 'reward' AND run_steps.outcome = 'done'
      AND run_steps.detail ->> 'untrusted' = :reward
      AND (CAST(:since AS timestamptz) IS NULL OR run_steps.at > :since)
""")


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


async def given_in_untrusted_runs(session: ReadSession, customer_id: UUID, reward: str, since: datetime | None) -> int:
    """How many of a reward the customer got in untrusted runs, of whatever journey, since a moment (None: ever)."""
    asked = {"customer_id": customer_id, "reward": reward, "since": since}
    return int(await session.scalar(_GIVEN, asked) or 0)
