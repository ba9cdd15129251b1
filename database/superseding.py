"""Runs that browsers began give way to trusted ones: which of them, and how (decision 0013)."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text

from database.runs import Run, end_runs
from database.session import WriteSession
from domain.runs import SUPERSEDED

NEVER_TRUSTED: Final = """
    CASE WHEN runs.untrusted IS NULL THEN runs.entry ->> 'trusted' = 'false'
         ELSE runs.untrusted ->> 'step' IS NULL END
"""
"""Of a row of `runs`: trusted facts did not lead it as far as its first step."""

GAVE_NOTHING: Final = """
    NOT EXISTS (
        SELECT FROM run_steps
        WHERE run_steps.run_id = runs.id AND run_steps.kind = 'reward' AND run_steps.outcome = 'done'
          AND run_steps.detail ? 'untrusted'
    )
"""
"""Of such a run: no step gave a reward that the shop allows to untrusted runs. Relies on pk_run_steps."""

SENT_NOTHING: Final = """
    NOT EXISTS (
        SELECT FROM messages JOIN customers ON customers.id = runs.customer_id
        WHERE messages.run_id = runs.id
          AND (messages.resent OR messages.state IN ('attempting', 'accepted', 'unknown', 'delivered', 'bounced'))
          AND (
              messages.channel <> 'email' OR messages."to" IS NULL
              OR lower(messages."to") = lower(btrim(customers.traits ->> 'email', E' \\t\\r\\n'))
          )
    )
"""
"""Of a row of `runs`: no message of it may have left to whom a run would write now: the present address, where it is
mail. Relies on the unique key (run, step, visit) of messages.
"""

# A free occasion for the run that begins, under the lock of the customer.
_RENAME = text("""
    UPDATE runs SET occasion = occasion || ' (superseded ' || id || ')' WHERE id = ANY(CAST(:ids AS uuid[]))
""")


async def supersede(
    session: WriteSession, about_it: Collection[UUID], in_its_way: Collection[UUID], as_of: datetime
) -> None:
    """End what is active of these runs; those in `about_it` lose their occasion too. The customers are locked."""
    await end_runs(session, Run.id.in_({*about_it, *in_its_way}), reason=SUPERSEDED, as_of=as_of)
    if about_it:
        await session.execute(_RENAME, {"ids": list(about_it)})
