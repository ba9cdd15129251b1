"""The key of the hashes, made before anything is hashed: a backup from before its first use knows it then."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A key that is in use stays. Old code must run on the new schema, and finds the key as if it had made it."""
    fresh = sa.text("INSERT INTO secrets (name, value) VALUES ('pseudonyms', :value) ON CONFLICT DO NOTHING")
    op.get_bind().execute(fresh, {"value": secrets.token_bytes(32)})


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
