"""What a cart was last changed by, beside when."""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand only: old code must run on the new schema. Of one instant, what changed a cart before sorts first."""
    op.execute("""
        ALTER TABLE carts
            ADD COLUMN changed_sent timestamptz NOT NULL DEFAULT '1970-01-01 00:00:00+00',
            ADD COLUMN changed_by uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000'
    """)


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
