"""What a restore of the database must not undo, until it stands in files."""

from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand only: old code must run on the new schema."""
    op.execute("""
        CREATE TABLE restore_journal (
            id uuid NOT NULL,
            at timestamptz NOT NULL DEFAULT now(),
            entry jsonb NOT NULL,
            written_at timestamptz,
            CONSTRAINT pk_restore_journal PRIMARY KEY (id)
        )
    """)
    op.execute("CREATE INDEX ix_restore_journal_unwritten ON restore_journal (at, id) WHERE written_at IS NULL")


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
