"""Tiers: who had which when, where everybody stands, and what people decided instead."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = (
    """
    CREATE TABLE tier_memberships (
        id uuid NOT NULL,
        customer_id uuid NOT NULL,
        programme text NOT NULL,
        tier text,
        from_at timestamptz NOT NULL,
        until_at timestamptz,
        reason text NOT NULL,
        version bigint NOT NULL,
        evidence jsonb NOT NULL,
        decided_at timestamptz NOT NULL,
        CONSTRAINT pk_tier_memberships PRIMARY KEY (id),
        CONSTRAINT fk_tier_memberships_customer_id_customers FOREIGN KEY (customer_id) REFERENCES customers (id),
        CONSTRAINT ck_tier_memberships_takes_time CHECK (until_at > from_at)
    )
    """,
    "CREATE INDEX ix_tier_memberships_customer ON tier_memberships (customer_id, from_at)",
    """
    CREATE TABLE tier_standings (
        customer_id uuid NOT NULL,
        programme text NOT NULL,
        tier text,
        version bigint NOT NULL,
        due_at timestamptz,
        weighed_at timestamptz NOT NULL,
        CONSTRAINT pk_tier_standings PRIMARY KEY (customer_id),
        CONSTRAINT fk_tier_standings_customer_id_customers FOREIGN KEY (customer_id) REFERENCES customers (id)
    )
    """,
    "CREATE INDEX ix_tier_standings_due ON tier_standings (due_at, customer_id) WHERE due_at IS NOT NULL",
    """
    CREATE TABLE tier_overrides (
        id uuid NOT NULL,
        customer_id uuid NOT NULL,
        programme text NOT NULL,
        tier text NOT NULL,
        from_at timestamptz NOT NULL,
        until_at timestamptz,
        removed_at timestamptz,
        reason text NOT NULL,
        author text NOT NULL,
        removal text,
        CONSTRAINT pk_tier_overrides PRIMARY KEY (id),
        CONSTRAINT fk_tier_overrides_customer_id_customers FOREIGN KEY (customer_id) REFERENCES customers (id)
    )
    """,
    "CREATE INDEX ix_tier_overrides_customer_id ON tier_overrides (customer_id)",
    """
    CREATE TABLE tier_sweeps (
        programme text NOT NULL,
        version bigint NOT NULL,
        done_at timestamptz NOT NULL,
        CONSTRAINT pk_tier_sweeps PRIMARY KEY (programme, version)
    )
    """,
)


def upgrade() -> None:
    """Expand only: old code must run on the new schema."""
    for statement in TABLES:
        op.execute(statement)


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
