"""What the ledger and the tiers recorded about customers, as a simulation plays it. Reads only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select, text

from database.programmes import LiveProgramme
from database.session import ReadSession
from database.tiers import TierMembership
from domain.conditions.history import PastTier
from domain.simulated_points import RecordedLot, RecordedLoyalty, RecordedMove
from domain.thresholds import PointsFigure

# Points into lots and out of them, each at the instant at which it took effect. What goes on from one use to another
# was out of its lot before; expiry goes by the lot's date. Relies on ix_point_lots_account and
# ix_point_consumptions_lot_id.
_LOTS = text("""
    SELECT account, activates_at, expires_at, array_agg(at ORDER BY at) AS moments,
        array_agg(change ORDER BY at) AS changes
    FROM (
        SELECT lots.*, made.effective_at AS at, lots.original AS change
        FROM point_lots AS lots JOIN point_transactions AS made ON made.id = lots.transaction_id
        UNION ALL
        SELECT lots.*, made.effective_at, CASE used.use WHEN 'returned' THEN used.points ELSE -used.points END
        FROM point_lots AS lots
        JOIN point_consumptions AS used ON used.lot_id = lots.id
        JOIN point_transactions AS made ON made.id = used.transaction_id
        WHERE used.use <> 'expired' AND (used.follows IS NULL OR used.use = 'returned')
    ) AS changed
    WHERE programme = :programme AND account = ANY(CAST(:accounts AS uuid[]))
    GROUP BY account, id, activates_at, expires_at
    ORDER BY account, id
""")

# What each transaction made of an account's figures, in the ledger's order. What was earned counts also where it was
# earned before its account was merged, at that time; anything else came by the merge. Relies on pk_point_entries and
# ix_point_balances_merged.
_MOVES = text("""
    WITH accounts AS (
        SELECT id AS customer, id AS account FROM unnest(CAST(:accounts AS uuid[])) AS asked (id)
        UNION ALL
        SELECT merged_into, account FROM point_balances WHERE programme = :programme AND merged_into = ANY(:accounts)
    )
    SELECT accounts.customer AS account, made.effective_at AS at,
        coalesce(sum(amount) FILTER (WHERE is_own AND bucket = 'available'), 0)::bigint AS available,
        coalesce(sum(amount) FILTER (WHERE is_own AND bucket = 'pending'), 0)::bigint AS pending,
        coalesce(-sum(amount) FILTER (WHERE is_by_rule AND bucket = 'issued'), 0)::bigint AS earned,
        coalesce(sum(amount) FILTER (WHERE is_own AND bucket = 'redeemed'), 0)::bigint AS spent
    FROM accounts
    JOIN point_entries AS entry ON entry.programme = :programme AND entry.account = accounts.account
    JOIN point_transactions AS made ON made.id = entry.transaction_id
    CROSS JOIN LATERAL (
        SELECT accounts.account = accounts.customer AS is_own, made.kind IN ('earn', 'clawback') AS is_by_rule
    ) AS told
    WHERE is_own OR is_by_rule
    GROUP BY accounts.customer, made.id, made.effective_at
    ORDER BY accounts.customer, made.id
""")


async def recorded_loyalty(
    session: ReadSession, programme: LiveProgramme, ids: Sequence[UUID]
) -> dict[UUID, RecordedLoyalty]:
    """Every customer's part in a programme; without any points or tiers it is an empty one."""
    given = {"programme": programme.key, "accounts": list(ids)}
    lots: dict[UUID, list[RecordedLot]] = defaultdict(list)
    for row in await session.execute(_LOTS, given):
        changes = list(zip(row.moments, row.changes, strict=True))
        lots[row.account].append(RecordedLot(row.activates_at, row.expires_at, changes))
    moves: dict[UUID, list[RecordedMove]] = defaultdict(list)
    for row in await session.execute(_MOVES, given):
        figures: dict[PointsFigure, int] = {
            "available": row.available,
            "pending": row.pending,
            "earned": row.earned,
            "spent": row.spent,
        }
        moves[row.account].append(RecordedMove(row.at, figures))
    tiers = await _tiers(session, programme.key, ids)
    levels = programme.definition.tiers.levels if programme.definition.tiers else []
    thresholds = {level.tier: level.from_ for level in levels}
    return {id_: RecordedLoyalty(programme.zone, thresholds, tiers[id_], lots[id_], moves[id_]) for id_ in ids}


async def _tiers(session: ReadSession, programme: str, ids: Sequence[UUID]) -> dict[UUID, list[PastTier]]:
    """By ix_tier_memberships_customer."""
    found: dict[UUID, list[PastTier]] = defaultdict(list)
    statement = select(TierMembership).where(TierMembership.customer_id.in_(ids), TierMembership.programme == programme)
    for row in await session.scalars(statement.order_by(TierMembership.from_at)):
        found[row.customer_id].append(PastTier(row.tier, row.from_at, row.until_at))
    return found
