"""Trust of traits: what a browser could not change, and how far older traits were looked through."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand only: old code must run on the new schema."""
    op.execute("ALTER TABLE events ADD COLUMN ignored_untrusted jsonb")


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
