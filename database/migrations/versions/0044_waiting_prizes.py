"""Points of prizes that wait until a programme is live."""

from alembic import op

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None

_UPGRADE = (
    """
    CREATE TABLE waiting_prizes (
        key text NOT NULL,
        customer_id uuid NOT NULL,
        points bigint NOT NULL,
        expires text,
        source text NOT NULL,
        earned_at timestamp with time zone NOT NULL,
        waits_since timestamp with time zone NOT NULL,
        CONSTRAINT pk_waiting_prizes PRIMARY KEY (key),
        CONSTRAINT fk_waiting_prizes_customer_id_customers FOREIGN KEY(customer_id) REFERENCES customers (id)
    )
    """,
    "CREATE INDEX ix_waiting_prizes_customer_id ON waiting_prizes (customer_id)",
    "CREATE INDEX ix_waiting_prizes_waits_since ON waiting_prizes (waits_since, key)",
)


def upgrade() -> None:
    """Expand only: old code must run on the new schema."""
    for statement in _UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
