"""Where shopping goes on, kept with each cart."""

from alembic import op

revision = "0047"
down_revision = "0046"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand only: old code must run on the new schema. It leaves the links as they are."""
    op.execute("ALTER TABLE carts ADD COLUMN url text")


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
