"""The orders that points pay for, and what refunds give back to gift cards."""

from alembic import op

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None

_UPGRADE = (
    "ALTER TABLE point_notes ADD COLUMN order_id text",
    "CREATE INDEX ix_point_notes_order_id ON point_notes (order_id) WHERE order_id IS NOT NULL",
    "ALTER TABLE coupon_uses ADD COLUMN given_back bigint NOT NULL DEFAULT 0",
)


def upgrade() -> None:
    """Expand only: old code must run on the new schema. It names no orders and gives back to no cards."""
    for statement in _UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
