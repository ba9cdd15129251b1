"""Small corrections of the foundation."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand only: old code must run on the new schema."""
    op.execute("CREATE INDEX ix_entry_decisions_age ON entry_decisions USING brin (at) WITH (autosummarize = on)")


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
