"""What orders events besides their time, and whose they are: sent when, the product's own, history."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand only: old code must run on the new schema, and no row is written again, however many there are.

    Of one instant, what was recorded before sorts before what comes now. Marks that a row lacks are read from its
    source, as the release before did, which goes on writing such rows until its last process is gone.
    """
    for table in ("events", "earnings", "consents"):
        op.execute(f"ALTER TABLE {table} ADD COLUMN sent timestamptz NOT NULL DEFAULT '1970-01-01 00:00:00+00'")
        op.execute(f"ALTER TABLE {table} ALTER COLUMN sent SET DEFAULT now()")
    op.execute("ALTER TABLE identities ADD COLUMN linked_sent timestamptz")
    op.execute("""
        ALTER TABLE events
            ADD COLUMN own_mark boolean,
            ADD COLUMN history_mark boolean,
            ADD COLUMN enters boolean NOT NULL DEFAULT false,
            ADD COLUMN own boolean GENERATED ALWAYS AS (coalesce(own_mark, source = 'perennial' AND trusted)) VIRTUAL,
            ADD COLUMN is_history boolean GENERATED ALWAYS AS (coalesce(history_mark, source = 'import')) VIRTUAL
    """)
    op.execute("CREATE INDEX ix_events_live ON events (id) WHERE status = 'pending' AND history_mark IS NOT TRUE")
    op.execute("CREATE INDEX ix_events_waiting ON events (id) WHERE status = 'pending' AND history_mark")


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
