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

# By the money of the order as it stands; whole returns release the code. Of lately: earlier releases gave no shares.
SHARES: Final = """
    SELECT uses.code || ' on ' || uses.order_id FROM coupon_uses AS uses
    JOIN coupons USING (code)
    JOIN document_versions AS issued
        ON issued.kind = 'reward' AND issued.key = coupons.reward AND issued.version = coupons.version
    JOIN orders ON orders.order_id = uses.order_id
    WHERE uses.state = 'used' AND issued.document -> 'gives' ? 'gift_card' AND orders.total > 0
      AND uses.at >= :since AND uses.given_back < div(uses.discount::numeric * orders.refunded, orders.total)
"""
