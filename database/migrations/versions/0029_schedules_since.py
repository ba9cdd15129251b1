"""From when on times of schedules that were entered have rows; and when refunds were sent, for those of one instant."""

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand only: old code must run on the new schema. Times that releases before entered may have no row."""
    op.execute("ALTER TABLE temporal_mark ADD COLUMN schedules_since timestamptz")
    op.execute("ALTER TABLE refunds ADD COLUMN sent timestamptz NOT NULL DEFAULT '1970-01-01 00:00:00+00'")


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
