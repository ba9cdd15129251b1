"""Links that erased people had, as keyed hashes, so that they still answer kindly."""

from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand only: old code must run on the new schema."""
    op.execute("""
        CREATE TABLE erased_links (
            hash bytea NOT NULL,
            channel text,
            address_hash bytea,
            CONSTRAINT pk_erased_links PRIMARY KEY (hash)
        )
    """)


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
