"""Suppressions with a class, an end, a release and who did it; erased customers in an index."""

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand only: old code must run on the new schema. It inserts without the new columns, and reads any row."""
    op.execute("""
        ALTER TABLE suppressions
            ADD COLUMN id uuid NOT NULL DEFAULT gen_random_uuid(),
            ADD COLUMN address text,
            ADD COLUMN until timestamptz,
            ADD COLUMN actor text,
            ADD COLUMN note text,
            ADD COLUMN released_at timestamptz,
            ADD COLUMN released_by text,
            ADD COLUMN release_note text,
            DROP CONSTRAINT pk_suppressions,
            ADD CONSTRAINT pk_suppressions PRIMARY KEY (address_hash, channel, reason)
    """)
    op.execute("CREATE UNIQUE INDEX uq_suppressions_id ON suppressions (id)")
    op.execute("CREATE INDEX ix_suppressions_at ON suppressions (at, id)")
    op.execute("CREATE INDEX ix_customers_erased ON customers (erased_at) WHERE erased_at IS NOT NULL")


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
