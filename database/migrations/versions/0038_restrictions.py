"""Restriction of processing: which customers are stored and left alone."""

from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand only: old code must run on the new schema. It does not know restrictions, which the new api makes."""
    op.execute("ALTER TABLE customers ADD COLUMN restricted_at timestamptz")
    op.execute("""
        CREATE TABLE restrictions (
            id uuid NOT NULL,
            customer_id uuid NOT NULL,
            reason text NOT NULL,
            at timestamptz NOT NULL,
            restricted_by text NOT NULL,
            lifted_at timestamptz,
            lifted_by text,
            CONSTRAINT pk_restrictions PRIMARY KEY (id),
            CONSTRAINT fk_restrictions_customer_id_customers FOREIGN KEY (customer_id) REFERENCES customers (id)
        )
    """)
    op.execute("CREATE INDEX ix_restrictions_customer ON restrictions (customer_id, at)")


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
