"""Members of a leaderboard in their order, so that a page reads nobody behind it."""

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand only: old code must run on the new schema."""
    op.execute(
        "CREATE INDEX ix_challenge_progress_rank"
        " ON challenge_progress (challenge, period, figure DESC, last_at, customer_id)"
    )
    op.execute("DROP INDEX ix_challenge_progress_figure")  # the new one begins with the same columns


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
