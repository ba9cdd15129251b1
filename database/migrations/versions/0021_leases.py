"""Relays lease commands instead of keeping them locked while they ask Temporal."""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand only: old relays lock rows and know of no lease; what both send is harmless twice."""
    op.execute("ALTER TABLE outbox ADD COLUMN leased_until timestamptz")


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
