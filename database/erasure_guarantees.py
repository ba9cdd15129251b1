"""What breaks an erasure, asked of live data: somebody who was erased has names or traits again."""

from __future__ import annotations

# A race of earlier releases: an alias that was routed while the erasure ran. Erasing takes a while, so open jobs and
# those of the last hour are passed over. By ix_customers_erased, ix_identities_customer_id and uq_erasures_open.
KNOWN_AGAIN = """
    SELECT c.id::text FROM customers c
    WHERE c.erased_at < CAST(:as_of AS timestamptz) - interval '1 hour'
        AND (
            c.external_id IS NOT NULL OR c.traits <> '{}'
            OR EXISTS (SELECT FROM identities i WHERE i.customer_id = c.id)
        )
        AND NOT EXISTS (SELECT FROM erasures e WHERE e.customer_id = c.id AND e.state <> 'completed')
"""
