"""Tiers of whoever gave something back are weighed anew: returns count from their own time on."""

from alembic import op

revision = "0048"
down_revision = "0047"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The hourly pass takes whose time has come; until then their tiers are as the release before weighed them."""
    op.execute("""
        UPDATE tier_standings SET due_at = least(due_at, now())
        WHERE customer_id IN (
            SELECT customer_id FROM earnings WHERE taken_back > 0 OR jsonb_array_length(credits) > 1
            UNION
            SELECT customer_id FROM orders WHERE state IN ('cancelled', 'refunded', 'partially_refunded')
        )
    """)


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
