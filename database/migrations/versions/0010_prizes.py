"""What of a prize was not given, and why what was given stays; who has which badge."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand only: old code must run on the new schema."""
    op.execute("ALTER TABLE challenge_completions ADD COLUMN not_given jsonb, ADD COLUMN reward_kept text")
    op.execute("""
        CREATE INDEX ix_challenge_completions_badge ON challenge_completions ((badge ->> 'badge'), customer_id)
        WHERE badge IS NOT NULL AND revoked_at IS NULL
    """)


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
