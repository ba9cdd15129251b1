"""How many codes of coupons each key and customer has tried lately."""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand only: old code must run on the new schema."""
    op.execute("""
        CREATE TABLE code_tries (
            subject bytea NOT NULL,
            spent_until timestamptz NOT NULL,
            CONSTRAINT pk_code_tries PRIMARY KEY (subject)
        )
    """)
    op.execute("CREATE INDEX ix_code_tries_spent_until ON code_tries (spent_until)")


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
