"""Which runs look at facts that are no event: whoever changes such a fact wakes them, as the router does for events.

Conditions that end runs or waits may ask for points, which calls and jobs move, and for messages that were sent.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final
from uuid import UUID

from sqlalchemy import text

from database.outbox import CommandKind, NewCommand, add_commands
from database.session import WriteSession


def _looking(fact: str) -> str:
    """The workflows of the active runs of `:customers` whose version asks for a fact (a JSON path below a condition)
    in an exit or a wait. By ix_runs_active.
    """
    conditions = ("$.exit[*].if", "$.steps.**.wait_for.any[*].if")
    asked = " OR ".join(f"jsonb_path_exists(version.document, '{each}.**.{fact}')" for each in conditions)
    return f"""
        SELECT runs.workflow_id
        FROM runs
        JOIN document_versions AS version
            ON version.kind = 'journey' AND version.key = runs.journey AND version.version = runs.version
        WHERE runs.customer_id = ANY(CAST(:customers AS uuid[])) AND runs.state = 'active' AND ({asked})
    """  # noqa: S608  constants of ours


LOOKING_AT_POINTS: Final = _looking("points")
"""For the statement that loads accounts, so that a move of points that concerns no run costs no statement."""

_LOOKING_AT_SENT: Final = text(_looking('message ? (@ == "sent")'))


async def wake_for_sent(session: WriteSession, customer_id: UUID) -> None:
    """Wake the customer's runs that look at messages which were sent."""
    found = await session.scalars(_LOOKING_AT_SENT, {"customers": [customer_id]})
    await wake(session, found.all())


async def wake(session: WriteSession, workflows: Collection[str]) -> None:
    """Have these workflows ask again when this transaction has committed."""
    await add_commands(session, [NewCommand(CommandKind.WAKE, each) for each in workflows])
