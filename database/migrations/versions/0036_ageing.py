"""How far forgetting has come, and indexes by which it finds what is over its time."""

from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand only: old code must run on the new schema."""
    op.execute("""
        CREATE TABLE ageing (
            name text NOT NULL,
            position uuid,
            looked_at timestamptz NOT NULL,
            forgotten bigint NOT NULL,
            CONSTRAINT pk_ageing PRIMARY KEY (name)
        )
    """)
    op.execute("CREATE INDEX ix_runs_saved ON runs (ended_at) WHERE ended_at IS NOT NULL AND saved <> '{}'::jsonb")
    op.execute("CREATE INDEX ix_idempotency_keys_answered ON idempotency_keys (created_at) WHERE status <> 0")


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
