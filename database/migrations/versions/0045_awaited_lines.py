"""Withdrawals and restrictions of customers whom a restored database does not know, until one of their ids is named."""

from alembic import op

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None

_UPGRADE = (
    """
    CREATE TABLE awaited_lines (
        kind text NOT NULL,
        hash bytea NOT NULL,
        line_id uuid NOT NULL,
        CONSTRAINT pk_awaited_lines PRIMARY KEY (kind, hash, line_id)
    )
    """,
)


def upgrade() -> None:
    """Expand only: old code must run on the new schema."""
    for statement in _UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
