"""What members have earned by rules of their programme: what the ledger issued to them, less what it gave otherwise.

Awards, rewards and corrections by hand are issued and not earned. What a rule should never have paid is taken back out
of what was issued, so each point counts once.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final
from uuid import UUID

from sqlalchemy import text

from database.session import ReadSession

UNGIVEN_LOTS: Final = ("earn", "transfer")
"""Lots that rules paid or another member passed on; all other kinds were given."""

# Lots pass to whoever an account is merged into. Relies on pk_point_balances and ix_point_lots_account.
_EARNED = text("""
    SELECT account, -issued - coalesce((
        SELECT sum(original) FROM point_lots AS lots
        WHERE lots.account = balances.account AND lots.programme = balances.programme AND lots.id = lots.origin
          AND lots.kind <> ALL(CAST(:ungiven AS text[]))
    ), 0)::bigint AS earned
    FROM point_balances AS balances
    WHERE programme = :programme AND account = ANY(CAST(:accounts AS uuid[]))
""")


async def earned_points(session: ReadSession, programme: str, accounts: Collection[UUID]) -> dict[UUID, int]:
    """The points that each of these members ever earned; 0 for who has no account."""
    bounds = {"programme": programme, "accounts": list(accounts), "ungiven": list(UNGIVEN_LOTS)}
    rows = await session.execute(_EARNED, bounds)
    return {**dict.fromkeys(accounts, 0), **{row.account: row.earned for row in rows}}
