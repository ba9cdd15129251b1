"""What would break the promises about rewards and coupons, asked of live data for `perennial doctor`."""

from __future__ import annotations

from typing import Final

# What was cancelled, or ended before it was issued, is back in stock.
STOCK: Final = """
    SELECT kept.reward
    FROM (
        SELECT reward, count(*) AS kept FROM redemptions
        WHERE state IN ('reserved', 'issued', 'fulfilled') OR (state = 'expired' AND issued_at IS NOT NULL)
        GROUP BY reward
    ) AS kept
    LEFT JOIN reward_stocks AS stocks USING (reward)
    WHERE kept.kept > coalesce(stocks.taken, 0)
"""

ONE_OWNER: Final = """
    SELECT redemptions.id::text FROM redemptions
    JOIN coupons ON coupons.code = redemptions.code
    WHERE redemptions.state IN ('reserved', 'issued', 'fulfilled')
      AND (coupons.redemption_id, coupons.customer_id) IS DISTINCT FROM (redemptions.id, redemptions.customer_id)
"""

LIMITS: Final = """
    SELECT coupons.code FROM coupons
    JOIN coupon_uses AS uses ON uses.code = coupons.code
     AND (uses.state = 'used' OR (uses.state = 'held' AND uses.held_until > :as_of))
    WHERE coupons.uses IS NOT NULL
    GROUP BY coupons.code
    HAVING count(*) > coupons.uses
"""
