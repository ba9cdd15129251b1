"""Consent belongs to an address: which one each record names, and which mailboxes have answered."""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand only: old code must run on the new schema.

    What it writes has no `address_given`, as all older records have not. Such records are settled from the events, by
    upkeep or by the first message that asks.
    """
    op.execute("""
        ALTER TABLE consents
            ADD COLUMN address_hash bytea,
            ADD COLUMN address_given boolean,
            ADD COLUMN counts boolean NOT NULL DEFAULT true
    """)
    op.execute("CREATE INDEX ix_consents_unsettled ON consents (customer_id) WHERE address_given IS NULL")
    op.execute("CREATE INDEX ix_consents_withdrawn ON consents (address_hash) WHERE state = 'unsubscribed'")
    op.execute("DROP INDEX uq_consents_event_id")
    op.execute("""
        CREATE UNIQUE INDEX uq_consents_event_id ON consents (event_id, purpose, channel) WHERE source <> 'moved'
    """)
    op.execute("""
        CREATE UNIQUE INDEX uq_consents_moved ON consents (event_id, purpose, channel, address_hash)
        WHERE source = 'moved'
    """)
    op.execute("""
        CREATE TABLE mailbox_answers (
            customer_id uuid NOT NULL,
            channel text NOT NULL,
            address_hash bytea NOT NULL,
            at timestamptz NOT NULL,
            CONSTRAINT pk_mailbox_answers PRIMARY KEY (customer_id, channel, address_hash),
            CONSTRAINT fk_mailbox_answers_customer_id_customers FOREIGN KEY (customer_id) REFERENCES customers (id)
        )
    """)


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
