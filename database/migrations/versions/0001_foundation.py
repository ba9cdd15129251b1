"""Events, customers, journeys, runs, messages and what they need, as 0001_foundation.sql says it."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

PARTITIONS = 8
"""Of event_keys, by hash, so that the lifetime de-duplication never needs one huge index."""


def upgrade() -> None:
    """Create everything."""
    statements = Path(__file__).with_suffix(".sql").read_text()
    for statement in filter(str.strip, statements.split(";\n")):
        op.execute(statement)
    for remainder in range(PARTITIONS):
        op.execute(
            f"CREATE TABLE event_keys_{remainder} PARTITION OF event_keys "
            f"FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {remainder})"
        )


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
