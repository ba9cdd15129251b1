"""Challenges, badges and leaderboards."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE challenge_progress (
        challenge TEXT NOT NULL,
        period TEXT NOT NULL,
        customer_id UUID NOT NULL,
        figure NUMERIC NOT NULL,
        round SMALLINT NOT NULL,
        last_at TIMESTAMP WITH TIME ZONE NOT NULL,
        streak JSONB,
        version BIGINT NOT NULL,
        CONSTRAINT pk_challenge_progress PRIMARY KEY (challenge, period, customer_id),
        CONSTRAINT fk_challenge_progress_customer_id_customers FOREIGN KEY(customer_id) REFERENCES customers (id)
    )
    """,
    "CREATE INDEX ix_challenge_progress_customer_id ON challenge_progress (customer_id)",
    "CREATE INDEX ix_challenge_progress_figure ON challenge_progress (challenge, period, figure)",
    """
    CREATE TABLE challenge_completions (
        challenge TEXT NOT NULL,
        period TEXT NOT NULL,
        level TEXT NOT NULL,
        round SMALLINT NOT NULL,
        customer_id UUID NOT NULL,
        version BIGINT NOT NULL,
        reached_at TIMESTAMP WITH TIME ZONE NOT NULL,
        completed_at TIMESTAMP WITH TIME ZONE NOT NULL,
        points BIGINT,
        credit TEXT,
        redemption_id UUID,
        badge JSONB,
        badge_expires_at TIMESTAMP WITH TIME ZONE,
        revoked_at TIMESTAMP WITH TIME ZONE,
        times SMALLINT DEFAULT 1 NOT NULL,
        CONSTRAINT pk_challenge_completions PRIMARY KEY (challenge, period, level, round, customer_id),
        CONSTRAINT fk_challenge_completions_customer_id_customers FOREIGN KEY(customer_id) REFERENCES customers (id)
    )
    """,
    "CREATE INDEX ix_challenge_completions_customer_id ON challenge_completions (customer_id)",
    """
    CREATE TABLE leaderboard_snapshots (
        challenge TEXT NOT NULL,
        period TEXT NOT NULL,
        version BIGINT NOT NULL,
        ties TEXT NOT NULL,
        finalised_at TIMESTAMP WITH TIME ZONE NOT NULL,
        members BIGINT NOT NULL,
        CONSTRAINT pk_leaderboard_snapshots PRIMARY KEY (challenge, period)
    )
    """,
    """
    CREATE TABLE leaderboard_ranks (
        challenge TEXT NOT NULL,
        period TEXT NOT NULL,
        customer_id UUID NOT NULL,
        position BIGINT NOT NULL,
        rank BIGINT NOT NULL,
        figure NUMERIC NOT NULL,
        last_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_leaderboard_ranks PRIMARY KEY (challenge, period, customer_id),
        CONSTRAINT fk_leaderboard_ranks_customer_id_customers FOREIGN KEY(customer_id) REFERENCES customers (id)
    )
    """,
    "CREATE INDEX ix_leaderboard_ranks_customer_id ON leaderboard_ranks (customer_id)",
    "CREATE INDEX ix_leaderboard_ranks_position ON leaderboard_ranks (challenge, period, position)",
    """
    CREATE TABLE challenge_errands (
        id UUID NOT NULL,
        kind TEXT NOT NULL,
        challenge TEXT NOT NULL,
        version BIGINT NOT NULL,
        period TEXT,
        level TEXT,
        after UUID,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        done_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_challenge_errands PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX ix_challenge_errands_open ON challenge_errands (id) WHERE done_at IS NULL",
    """
    CREATE TABLE community_levels (
        challenge TEXT NOT NULL,
        period TEXT NOT NULL,
        level TEXT NOT NULL,
        version BIGINT NOT NULL,
        figure NUMERIC NOT NULL,
        reached_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_community_levels PRIMARY KEY (challenge, period, level)
    )
    """,
)


def upgrade() -> None:
    """Expand only: old code must run on the new schema."""
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
