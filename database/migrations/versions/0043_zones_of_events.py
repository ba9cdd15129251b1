"""The customer's zone with each event, as of when it was routed; members of challenges are counted again."""

from alembic import op

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None

_UPGRADE = (
    "ALTER TABLE events ADD COLUMN zone text",
    # Orders count once, as they stand: what the releases before counted is counted again, page by page.
    """
    INSERT INTO challenge_errands (id, kind, challenge, version, created_at)
    SELECT uuidv7(), 'recount', key, live_version, now() FROM documents
    WHERE kind = 'challenge' AND state IN ('live', 'paused') AND live_version IS NOT NULL
    """,
)


def upgrade() -> None:
    """Expand only: old code must run on the new schema. What it routes has no zone until its customer moves."""
    for statement in _UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
