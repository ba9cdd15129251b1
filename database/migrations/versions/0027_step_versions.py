"""The version under which a run took each of its steps, so that its way can be walked again as it was."""

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand only: old code must run on the new schema. Steps of releases before have none."""
    op.execute("ALTER TABLE run_steps ADD COLUMN version bigint")


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
