"""What would break the ledger, asked of live data for `perennial doctor`: sums, replays and bounds."""

from __future__ import annotations

from typing import Final

SUMS_TO_ZERO: Final = """
    SELECT transaction_id::text FROM point_entries GROUP BY transaction_id HAVING sum(amount) <> 0
"""

# Balances as replayed from the entries, bucket by bucket, also of accounts that have only one of the two.
BALANCES: Final = """
    SELECT coalesce(kept.account, replayed.account)::text
    FROM point_balances AS kept
    FULL JOIN (
        SELECT programme, account, max(number) AS number,
            coalesce(sum(amount) FILTER (WHERE bucket = 'issued'), 0) AS issued,
            coalesce(sum(amount) FILTER (WHERE bucket = 'pending'), 0) AS pending,
            coalesce(sum(amount) FILTER (WHERE bucket = 'available'), 0) AS available,
            coalesce(sum(amount) FILTER (WHERE bucket = 'held'), 0) AS held,
            coalesce(sum(amount) FILTER (WHERE bucket = 'redeemed'), 0) AS redeemed,
            coalesce(sum(amount) FILTER (WHERE bucket = 'expired'), 0) AS expired,
            coalesce(sum(amount) FILTER (WHERE bucket = 'reversed'), 0) AS reversed
        FROM point_entries GROUP BY programme, account
    ) AS replayed USING (programme, account)
    WHERE (kept.issued, kept.pending, kept.available, kept.held, kept.redeemed, kept.expired, kept.reversed)
        IS DISTINCT FROM (
            coalesce(replayed.issued, 0), coalesce(replayed.pending, 0), coalesce(replayed.available, 0),
            coalesce(replayed.held, 0), coalesce(replayed.redeemed, 0), coalesce(replayed.expired, 0),
            coalesce(replayed.reversed, 0)
        )
       OR kept.number < replayed.number
"""

# Hours as they were added up, against their entries; older ones once the pass over them is done (`point_totals.py`).
TOTALS: Final = """
    SELECT programme || ' ' || bucket || ' ' || hour
    FROM (
        SELECT programme, hour, bucket, sum(amount) AS amount FROM (
            SELECT programme, hour, bucket, amount FROM point_totals
            UNION ALL
            SELECT programme, hour, bucket, amount FROM point_total_changes
        ) AS noted GROUP BY programme, hour, bucket
    ) AS kept
    FULL JOIN (
        SELECT entries.programme, date_trunc('hour', made.effective_at, 'UTC') AS hour, entries.bucket,
            sum(entries.amount) AS amount
        FROM point_entries AS entries JOIN point_transactions AS made ON made.id = entries.transaction_id
        GROUP BY 1, 2, 3
    ) AS replayed USING (programme, hour, bucket)
    WHERE coalesce(kept.amount, 0) <> coalesce(replayed.amount, 0)
      AND (
        EXISTS (SELECT FROM backfills WHERE name = 'point_totals' AND done_at IS NOT NULL)
        OR NOT EXISTS (SELECT FROM point_transactions WHERE NOT is_totalled)
      )
"""

LOTS: Final = """
    SELECT lots.id::text FROM point_lots AS lots
    LEFT JOIN (
        SELECT lot_id,
            sum(points) FILTER (WHERE follows IS NULL) AS taken,
            sum(points) FILTER (WHERE use = 'returned') AS returned
        FROM point_consumptions GROUP BY lot_id
    ) AS used ON used.lot_id = lots.id
    WHERE lots.remaining <> lots.original - coalesce(used.taken, 0) + coalesce(used.returned, 0)
"""

LOTS_AND_BALANCES: Final = """
    SELECT balances.account::text FROM point_balances AS balances
    LEFT JOIN (
        SELECT programme, account,
            coalesce(sum(remaining) FILTER (WHERE is_pending), 0) AS pending,
            coalesce(sum(remaining) FILTER (WHERE NOT is_pending), 0) AS active
        FROM point_lots GROUP BY programme, account
    ) AS lots USING (programme, account)
    LEFT JOIN (
        SELECT programme, account, sum(points) AS points FROM point_holds WHERE state = 'open'
        GROUP BY programme, account
    ) AS holds USING (programme, account)
    WHERE balances.pending <> coalesce(lots.pending, 0)
       OR balances.available <> coalesce(lots.active, 0) - balances.deficit
       OR balances.held <> coalesce(holds.points, 0)
       OR (balances.deficit > 0 AND lots.active > 0)
"""

USED_ONCE: Final = """
    SELECT taken.id::text FROM point_consumptions AS taken
    JOIN point_consumptions AS later ON later.follows = taken.id
    GROUP BY taken.id HAVING sum(later.points) > taken.points
"""

HOLDS: Final = """
    SELECT holds.id::text FROM point_holds AS holds
    JOIN point_consumptions AS part ON part.transaction_id = holds.transaction_id AND part.use = 'held'
    LEFT JOIN (
        SELECT follows, sum(points) AS ended, sum(points) FILTER (WHERE use = 'redeemed') AS redeemed
        FROM point_consumptions WHERE follows IS NOT NULL GROUP BY follows
    ) AS later ON later.follows = part.id
    GROUP BY holds.id
    HAVING coalesce(sum(later.ended), 0) <> CASE WHEN state = 'open' THEN 0 ELSE holds.points END
        OR coalesce(sum(later.redeemed), 0) <> captured
"""

SETTLED: Final = """
    SELECT account::text FROM point_balances WHERE next_due < CAST(:as_of AS timestamptz) - interval '1 day'
"""

# Relies on ix_customers_erased. What comes in afterwards is forfeited within a day.
FORFEITED: Final = """
    SELECT customers.id::text FROM customers
    JOIN point_balances AS balances ON balances.account = customers.id
    WHERE customers.erased_at < CAST(:as_of AS timestamptz) - interval '1 day' AND balances.merged_into IS NULL
      AND (balances.pending <> 0 OR balances.available <> 0 OR balances.held <> 0)
"""

# By the money of the order as it stands; what came back once stays, so there may be more. Relies on
# ix_point_transactions_of.
CAME_BACK: Final = """
    SELECT made.id::text FROM point_notes AS notes
    JOIN point_transactions AS made ON made.id = notes.transaction_id AND made.kind IN ('capture', 'deduct')
    JOIN documents AS live ON live.kind = 'programme' AND live.state = 'live' AND live.key = made.programme
    JOIN orders ON orders.order_id = notes.order_id
    LEFT JOIN LATERAL (
        SELECT sum(points) AS points FROM point_transactions WHERE of = made.id AND kind = 'restore'
    ) AS back ON true
    WHERE coalesce(back.points, 0) < CASE
        WHEN orders.cancelled OR orders.returned = '1' THEN made.points
        WHEN orders.total > 0 THEN div(made.points::numeric * orders.refunded, orders.total)
        ELSE 0
    END
"""

PAID: Final = """
    SELECT earnings.id::text FROM earnings
    WHERE points - taken_back <> coalesce((
        SELECT sum(CAST(posted ->> 'points' AS bigint) - CAST(posted ->> 'taken' AS bigint))
        FROM jsonb_array_elements(credits) AS posted
    ), 0)
"""
