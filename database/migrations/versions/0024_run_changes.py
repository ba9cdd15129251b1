"""What marketers decided about many runs at once, carried out in pages."""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_UPGRADE = (
    """
    CREATE TABLE run_changes (
        id uuid CONSTRAINT pk_run_changes PRIMARY KEY,
        journey text NOT NULL,
        kind text NOT NULL,
        before bigint NOT NULL,
        steps jsonb,
        runs bigint NOT NULL,
        carried_out bigint NOT NULL DEFAULT 0,
        decided_at timestamptz NOT NULL,
        done_at timestamptz
    )
    """,
    "CREATE INDEX ix_run_changes_open ON run_changes (journey, id) WHERE done_at IS NULL",
    "CREATE INDEX ix_run_changes_journey ON run_changes (journey, id)",
)


def upgrade() -> None:
    """Expand only: old code must run on the new schema."""
    for statement in _UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
