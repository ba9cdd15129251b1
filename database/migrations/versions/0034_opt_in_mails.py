"""Mails of double opt-ins count for the mailbox they go to, and a browser's withdrawal for its own customer."""

from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand only: old code must run on the new schema. What it sends is not counted."""
    op.execute("ALTER TABLE messages ADD COLUMN mailbox_hash bytea")
    op.execute("CREATE INDEX ix_messages_mailbox ON messages (mailbox_hash, created_at) WHERE mailbox_hash IS NOT NULL")
    # Upkeep settles them anew: they reached whatever address a browser named.
    op.execute("""
        UPDATE consents SET address_given = NULL
        FROM events
        WHERE events.id = consents.event_id AND NOT events.trusted
          AND consents.state = 'unsubscribed' AND consents.address_hash IS NOT NULL
    """)


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
