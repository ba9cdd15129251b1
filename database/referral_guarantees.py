"""What would break the promises about referrals, asked of live data for `perennial doctor` (invariant 11)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import select

from database.referrals import Referral
from database.session import ReadSession
from domain.referral_signals import Suspicion
from domain.referrals import ReferralState

# Also by way of a merge: a tombstone stands for its survivor.
NOT_THEMSELVES: Final = """
    SELECT referrals.id::text FROM referrals
    JOIN customers AS referrer ON referrer.id = referrals.referrer_id
    JOIN customers AS referee ON referee.id = referrals.referee_id
    WHERE referrals.state = ANY(:live)
      AND coalesce(referrer.merged_into, referrer.id) = coalesce(referee.merged_into, referee.id)
"""

# From friend to referrer until it comes back to the friend; CYCLE ends the walk. By ix_referrals_referee_id.
RINGS: Final = """
    WITH RECURSIVE chain (friend, referrer_id) AS (
        SELECT referee_id, referrer_id FROM referrals WHERE state = ANY(:live) AND referee_id IS NOT NULL
        UNION ALL
        SELECT chain.friend, referrals.referrer_id FROM chain
        JOIN referrals ON referrals.referee_id = chain.referrer_id AND referrals.state = ANY(:live)
    ) CYCLE referrer_id SET is_again USING path
    SELECT DISTINCT friend::text FROM chain WHERE referrer_id = friend
"""

HOLD: Final = """
    SELECT id::text FROM referrals WHERE rewarded_at < due_at OR (state = 'rewarded' AND rewarded_at IS NULL)
"""

# The ledger keeps natural keys as their hashes (database/ledger.py).
PAID: Final = """
    SELECT paid.id::text FROM point_transactions AS paid
    WHERE paid.kind = 'reward' AND paid.source = 'referral' AND NOT EXISTS (
        SELECT FROM referrals CROSS JOIN (VALUES ('referrer'), ('referee')) AS sides (side)
        WHERE referrals.state IN ('rewarded', 'revoked')
          AND paid.key = sha256(
              convert_to(paid.programme, 'UTF8') || '\\x00'::bytea
              || convert_to('referral/' || referrals.id || '/' || sides.side, 'UTF8')
          )
    )
"""

# An order that was cancelled or came back whole qualifies nobody, before the reward as after it.
QUALIFIED: Final = """
    SELECT referrals.id::text FROM referrals
    JOIN orders ON orders.order_id = referrals.order_id AND orders.customer_id = referrals.referee_id
    WHERE referrals.state IN ('held', 'rewarded') AND orders.state IN ('cancelled', 'refunded')
"""


async def paid_for_customers(session: ReadSession, limit: int) -> Sequence[str]:
    """Paid referrals of which it came out later that the friend had ordered before; the latest first."""
    found = select(Referral.id).where(
        Referral.state == ReferralState.REWARDED, Referral.suspicions.contains([Suspicion.ORDERED_BEFORE])
    )
    return [str(id_) for id_ in await session.scalars(found.order_by(Referral.id.desc()).limit(limit))]
