"""Calls to a provider that may be under way, how the provider is, and when each message's call began."""

from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

_UPGRADE = (
    """
    CREATE TABLE provider_places (
        provider text NOT NULL,
        place bigint NOT NULL,
        free_at timestamptz NOT NULL,
        is_lost boolean NOT NULL DEFAULT false,
        CONSTRAINT pk_provider_places PRIMARY KEY (provider, place)
    )
    """,
    """
    ALTER TABLE provider_rates
        ADD COLUMN ill_since timestamptz,
        ADD COLUMN trouble text,
        ADD COLUMN failures bigint NOT NULL DEFAULT 0,
        ADD COLUMN paused_until timestamptz NOT NULL DEFAULT '2000-01-01Z',
        ADD COLUMN well_since timestamptz NOT NULL DEFAULT '2000-01-01Z'
    """,
    "ALTER TABLE messages ADD COLUMN called_at timestamptz",
)


def upgrade() -> None:
    """Expand only: old code must run on the new schema."""
    for statement in _UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
