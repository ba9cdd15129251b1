"""Decisions of earning rules, and temporary multipliers."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


_STATEMENTS = (
    """
    CREATE TABLE earnings (
        id uuid NOT NULL,
        programme text NOT NULL,
        rule text NOT NULL,
        version bigint NOT NULL,
        customer_id uuid NOT NULL,
        event_id uuid NOT NULL,
        message_id text NOT NULL,
        at timestamptz NOT NULL,
        is_late boolean NOT NULL,
        decided_at timestamptz NOT NULL,
        occasion text NOT NULL,
        owner uuid,
        is_final boolean NOT NULL,
        points bigint NOT NULL,
        wanted bigint NOT NULL,
        reason text,
        tier text,
        inputs jsonb NOT NULL,
        order_id text,
        basis bigint,
        currency text,
        shares jsonb NOT NULL,
        activates_at timestamptz,
        activates_on text,
        expires_at timestamptz,
        taken_back bigint NOT NULL,
        credits jsonb NOT NULL,
        CONSTRAINT pk_earnings PRIMARY KEY (id),
        CONSTRAINT fk_earnings_customer_id_customers FOREIGN KEY (customer_id) REFERENCES customers (id)
    )
    """,
    "CREATE UNIQUE INDEX uq_earnings_event ON earnings (event_id, programme, rule)",
    """
    CREATE UNIQUE INDEX uq_earnings_occasion ON earnings (programme, rule, occasion, owner)
    NULLS NOT DISTINCT WHERE is_final
    """,
    "CREATE INDEX ix_earnings_customer ON earnings (customer_id, at, message_id)",
    "CREATE INDEX ix_earnings_order ON earnings (order_id) WHERE order_id IS NOT NULL",
    """
    CREATE TABLE point_boosts (
        key text NOT NULL,
        customer_id uuid NOT NULL,
        rule text,
        by text NOT NULL,
        start timestamptz NOT NULL,
        "end" timestamptz NOT NULL,
        CONSTRAINT pk_point_boosts PRIMARY KEY (key),
        CONSTRAINT fk_point_boosts_customer_id_customers FOREIGN KEY (customer_id) REFERENCES customers (id)
    )
    """,
    'CREATE INDEX ix_point_boosts_customer ON point_boosts (customer_id, "end")',
)


def upgrade() -> None:
    """Expand only: old code must run on the new schema."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
