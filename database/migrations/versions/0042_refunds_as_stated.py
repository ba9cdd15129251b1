"""Refunds as they were stated, and the exact share of each order's goods that came back."""

from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None

_UPGRADE = (
    """
    ALTER TABLE refunds
        ADD COLUMN refund_id text,
        ADD COLUMN told text,
        ADD COLUMN amount numeric,
        ADD COLUMN shipping numeric
    """,
    "ALTER TABLE orders ADD COLUMN returned text NOT NULL DEFAULT '0'",
    # As the release before counted it; the next event of an order works it out anew.
    """
    UPDATE orders SET returned = CASE
        WHEN state IN ('cancelled', 'refunded') THEN '1'
        ELSE refunded || '/' || total
    END
    WHERE state IN ('cancelled', 'refunded') OR (state = 'partially_refunded' AND total > 0)
    """,
)


def upgrade() -> None:
    """Expand only: old code must run on the new schema. It writes refunds without the new columns."""
    for statement in _UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
