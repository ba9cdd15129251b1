"""Counts of webhook items that could not be read, so that what was lost is seen."""

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand only: old code must run on the new schema."""
    op.execute(
        """
        CREATE TABLE unread_reports (
            provider text NOT NULL,
            reason text NOT NULL,
            items bigint NOT NULL,
            first_at timestamptz NOT NULL,
            last_at timestamptz NOT NULL,
            CONSTRAINT pk_unread_reports PRIMARY KEY (provider, reason)
        )
        """
    )


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
