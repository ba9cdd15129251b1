"""From when on every time of a schedule that was entered has a row: the first look of a router that compares them."""

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand only: old code must run on the new schema. Times that releases before entered may have no row."""
    op.execute("ALTER TABLE temporal_mark ADD COLUMN schedules_since timestamptz")


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
