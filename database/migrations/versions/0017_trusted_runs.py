"""Where and why a run became untrusted."""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand only: old code must run on the new schema. Runs that are under way are as their entry event is."""
    op.execute("ALTER TABLE runs ADD COLUMN untrusted jsonb")


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
