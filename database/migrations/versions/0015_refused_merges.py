"""Merges of customers that were refused, for people to look at."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand only: old code must run on the new schema."""
    op.execute("""
        CREATE TABLE refused_merges (
            user_id text NOT NULL,
            previous_id text NOT NULL,
            customer_id uuid NOT NULL CONSTRAINT fk_refused_merges_customer_id_customers REFERENCES customers (id),
            reason text NOT NULL,
            event_id uuid NOT NULL,
            refused_at timestamptz NOT NULL,
            times bigint NOT NULL,
            CONSTRAINT pk_refused_merges PRIMARY KEY (user_id, previous_id)
        )
    """)
    op.execute("CREATE INDEX ix_refused_merges_customer_id ON refused_merges (customer_id)")
    op.execute("CREATE INDEX ix_refused_merges_previous_id ON refused_merges (previous_id)")


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
