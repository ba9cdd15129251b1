"""Thresholds of points that journeys enter on."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand only: old code must run on the new schema."""
    op.execute("""
        CREATE TABLE point_thresholds (
            points BIGINT NOT NULL,
            figure TEXT NOT NULL,
            change TEXT NOT NULL,
            journey TEXT NOT NULL,
            CONSTRAINT pk_point_thresholds PRIMARY KEY (points, figure, change, journey)
        )
    """)


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
