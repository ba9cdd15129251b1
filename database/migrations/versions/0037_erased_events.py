"""Message ids of erased people, as keyed hashes; what somebody wrote on ending a run, apart from its reason."""

from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand only: old code must run on the new schema."""
    op.execute("""
        CREATE TABLE erased_events (
            hash bytea NOT NULL,
            erased_at timestamptz NOT NULL,
            CONSTRAINT pk_erased_events PRIMARY KEY (hash)
        )
    """)
    op.execute("ALTER TABLE runs ADD COLUMN note text")
    # Ends by hand of earlier releases: the audit log knows which they are.
    op.execute("""
        UPDATE runs SET note = runs.reason, reason = 'ended_by_hand'
        FROM audit_log
        WHERE audit_log.action = 'exit' AND audit_log.target = 'run/' || runs.id AND runs.state = 'exited'
            AND runs.reason = audit_log.detail ->> 'reason'
    """)


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
