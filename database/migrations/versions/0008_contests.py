"""Contests, entries and draws."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE contest_draws (
        contest TEXT NOT NULL,
        secret BYTEA NOT NULL,
        commitment TEXT NOT NULL,
        opened_at TIMESTAMP WITH TIME ZONE NOT NULL,
        version BIGINT,
        frozen_at TIMESTAMP WITH TIME ZONE,
        list TEXT,
        list_hash TEXT,
        drawn_at TIMESTAMP WITH TIME ZONE,
        drawn_by TEXT,
        beacon TEXT,
        seed TEXT,
        CONSTRAINT pk_contest_draws PRIMARY KEY (contest)
    )
    """,
    """
    CREATE TABLE contest_entries (
        id UUID NOT NULL,
        contest TEXT NOT NULL,
        rule TEXT NOT NULL,
        source TEXT NOT NULL,
        customer_id UUID NOT NULL,
        entries BIGINT NOT NULL,
        period TEXT NOT NULL,
        at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_contest_entries PRIMARY KEY (id),
        CONSTRAINT fk_contest_entries_customer_id_customers FOREIGN KEY(customer_id) REFERENCES customers (id)
    )
    """,
    "CREATE INDEX ix_contest_entries_customer_id ON contest_entries (customer_id, contest)",
    "CREATE UNIQUE INDEX uq_contest_entries_source ON contest_entries (contest, rule, source)",
    """
    CREATE TABLE contest_tickets (
        entry_id UUID NOT NULL,
        contest TEXT NOT NULL,
        customer_id UUID NOT NULL,
        weight BIGINT NOT NULL,
        CONSTRAINT pk_contest_tickets PRIMARY KEY (entry_id),
        CONSTRAINT fk_contest_tickets_customer_id_customers FOREIGN KEY(customer_id) REFERENCES customers (id)
    )
    """,
    "CREATE INDEX ix_contest_tickets_contest ON contest_tickets (contest)",
    "CREATE INDEX ix_contest_tickets_customer_id ON contest_tickets (customer_id)",
    """
    CREATE TABLE contest_places (
        contest TEXT NOT NULL,
        place BIGINT NOT NULL,
        entry_id UUID NOT NULL,
        state TEXT NOT NULL,
        prize_place BIGINT,
        reason TEXT,
        due_at TIMESTAMP WITH TIME ZONE,
        given_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_contest_places PRIMARY KEY (contest, place)
    )
    """,
    "CREATE INDEX ix_contest_places_due ON contest_places (due_at) WHERE state = 'won' AND given_at IS NULL",
    "CREATE INDEX ix_contest_places_entry_id ON contest_places (entry_id)",
)


def upgrade() -> None:
    """Expand only: old code must run on the new schema."""
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
