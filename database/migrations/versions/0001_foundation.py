"""Events, customers, journeys, runs, messages and what they need."""

from alembic import op

from database.tables import metadata

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

PARTITIONS = 8


def upgrade() -> None:
    """Create everything; event_keys is hash partitioned, so that the lifetime de-duplication never needs a huge index."""
    metadata.create_all(op.get_bind())
    for remainder in range(PARTITIONS):
        op.execute(
            f"CREATE TABLE event_keys_{remainder} PARTITION OF event_keys "
            f"FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {remainder})"
        )


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
