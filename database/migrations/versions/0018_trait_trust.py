"""How far passes over old rows have come; the first looks for traits that browsers set."""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand only: old code must run on the new schema. The pass itself runs after the migration (trait_trust.py)."""
    op.execute("""
        CREATE TABLE backfills (
            name text NOT NULL CONSTRAINT pk_backfills PRIMARY KEY,
            after uuid,
            done_at timestamptz
        )
    """)


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
