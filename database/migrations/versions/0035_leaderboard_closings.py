"""Leaderboards that are made final in pages."""

from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None

_UPGRADE = (
    """
    CREATE TABLE leaderboard_closings (
        challenge text NOT NULL,
        period text NOT NULL,
        version bigint NOT NULL,
        ties text NOT NULL,
        begun_at timestamptz NOT NULL,
        after uuid,
        CONSTRAINT pk_leaderboard_closings PRIMARY KEY (challenge, period)
    )
    """,
    """
    CREATE TABLE leaderboard_entrants (
        challenge text NOT NULL,
        period text NOT NULL,
        customer_id uuid NOT NULL
            CONSTRAINT fk_leaderboard_entrants_customer_id_customers REFERENCES customers (id),
        figure numeric NOT NULL,
        last_at timestamptz NOT NULL,
        CONSTRAINT pk_leaderboard_entrants PRIMARY KEY (challenge, period, customer_id)
    )
    """,
    """
    CREATE INDEX ix_leaderboard_entrants_rank
        ON leaderboard_entrants (challenge, period, figure DESC, last_at, customer_id)
    """,
    "CREATE INDEX ix_leaderboard_entrants_customer_id ON leaderboard_entrants (customer_id)",
    # What the release before makes is complete at once.
    "ALTER TABLE leaderboard_snapshots ADD COLUMN is_complete boolean NOT NULL DEFAULT true",
)


def upgrade() -> None:
    """Expand only: old code must run on the new schema."""
    for statement in _UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
