"""The points ledger, append-only for the application, which from now on works under a role of its own.

Entries, transactions and consumptions refuse UPDATE, DELETE and TRUNCATE twice: the role `perennial_app` has no right
to them, and triggers stop everybody else. Every statement that writes entries must keep each transaction at zero.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

APPEND_ONLY = ("point_transactions", "point_entries", "point_consumptions")

TABLES = (
    """
    CREATE TABLE point_balances (
        programme text NOT NULL,
        account uuid NOT NULL,
        issued bigint DEFAULT 0 NOT NULL,
        pending bigint DEFAULT 0 NOT NULL,
        available bigint DEFAULT 0 NOT NULL,
        held bigint DEFAULT 0 NOT NULL,
        redeemed bigint DEFAULT 0 NOT NULL,
        expired bigint DEFAULT 0 NOT NULL,
        reversed bigint DEFAULT 0 NOT NULL,
        deficit bigint DEFAULT 0 NOT NULL,
        number bigint DEFAULT 0 NOT NULL,
        next_due timestamptz,
        merged_into uuid,
        CONSTRAINT pk_point_balances PRIMARY KEY (programme, account),
        CONSTRAINT ck_point_balances_not_overspent CHECK (available >= -deficit),
        CONSTRAINT ck_point_balances_not_below_zero
            CHECK (pending >= 0 AND held >= 0 AND deficit >= 0 AND redeemed >= 0 AND expired >= 0 AND reversed >= 0)
    )
    """,
    "CREATE INDEX ix_point_balances_due ON point_balances (next_due, programme, account) WHERE next_due IS NOT NULL",
    "CREATE INDEX ix_point_balances_merged ON point_balances (merged_into) WHERE merged_into IS NOT NULL",
    """
    CREATE TABLE point_transactions (
        id uuid NOT NULL,
        programme text NOT NULL,
        account uuid NOT NULL,
        number bigint NOT NULL,
        key bytea NOT NULL,
        fingerprint bytea NOT NULL,
        kind text NOT NULL,
        points bigint NOT NULL,
        source text NOT NULL,
        author text,
        "of" uuid,
        effective_at timestamptz NOT NULL,
        recorded_at timestamptz NOT NULL,
        answer jsonb NOT NULL,
        CONSTRAINT pk_point_transactions PRIMARY KEY (id),
        CONSTRAINT uq_point_transactions_programme_key UNIQUE (programme, key),
        CONSTRAINT ck_point_transactions_points CHECK (points >= 0)
    )
    """,
    'CREATE INDEX ix_point_transactions_of ON point_transactions ("of") WHERE "of" IS NOT NULL',
    """
    CREATE TABLE point_entries (
        programme text NOT NULL,
        account uuid NOT NULL,
        number bigint NOT NULL,
        bucket text NOT NULL,
        amount bigint NOT NULL,
        transaction_id uuid NOT NULL,
        CONSTRAINT pk_point_entries PRIMARY KEY (programme, account, number, bucket),
        CONSTRAINT fk_point_entries_transaction_id_point_transactions
            FOREIGN KEY (transaction_id) REFERENCES point_transactions (id),
        CONSTRAINT ck_point_entries_amount CHECK (amount <> 0)
    )
    """,
    "CREATE INDEX ix_point_entries_transaction_id ON point_entries (transaction_id)",
    """
    CREATE TABLE point_lots (
        id uuid NOT NULL,
        programme text NOT NULL,
        account uuid NOT NULL,
        origin uuid NOT NULL,
        transaction_id uuid NOT NULL,
        kind text NOT NULL,
        source text NOT NULL,
        original bigint NOT NULL,
        remaining bigint NOT NULL,
        number bigint NOT NULL,
        earned_at timestamptz NOT NULL,
        activates_at timestamptz,
        expires_at timestamptz,
        is_pending boolean NOT NULL,
        CONSTRAINT pk_point_lots PRIMARY KEY (id),
        CONSTRAINT fk_point_lots_transaction_id_point_transactions
            FOREIGN KEY (transaction_id) REFERENCES point_transactions (id),
        CONSTRAINT ck_point_lots_remaining CHECK (remaining BETWEEN 0 AND original AND original > 0)
    )
    """,
    "CREATE INDEX ix_point_lots_live ON point_lots (programme, account) WHERE remaining > 0",
    "CREATE INDEX ix_point_lots_account ON point_lots (account)",
    "CREATE INDEX ix_point_lots_expiring ON point_lots (expires_at) WHERE remaining > 0",
    "CREATE INDEX ix_point_lots_origin ON point_lots (origin) WHERE id <> origin",
    """
    CREATE TABLE point_consumptions (
        id uuid NOT NULL,
        lot_id uuid NOT NULL,
        transaction_id uuid NOT NULL,
        use text NOT NULL,
        points bigint NOT NULL,
        follows uuid,
        CONSTRAINT pk_point_consumptions PRIMARY KEY (id),
        CONSTRAINT fk_point_consumptions_lot_id_point_lots FOREIGN KEY (lot_id) REFERENCES point_lots (id),
        CONSTRAINT fk_point_consumptions_transaction_id_point_transactions
            FOREIGN KEY (transaction_id) REFERENCES point_transactions (id),
        CONSTRAINT ck_point_consumptions_points CHECK (points > 0)
    )
    """,
    "CREATE INDEX ix_point_consumptions_lot_id ON point_consumptions (lot_id)",
    "CREATE INDEX ix_point_consumptions_transaction_id ON point_consumptions (transaction_id)",
    "CREATE INDEX ix_point_consumptions_follows ON point_consumptions (follows) WHERE follows IS NOT NULL",
    """
    CREATE TABLE point_holds (
        id uuid NOT NULL,
        programme text NOT NULL,
        account uuid NOT NULL,
        transaction_id uuid NOT NULL,
        points bigint NOT NULL,
        captured bigint DEFAULT 0 NOT NULL,
        expires_at timestamptz NOT NULL,
        state text NOT NULL,
        CONSTRAINT pk_point_holds PRIMARY KEY (id),
        CONSTRAINT fk_point_holds_transaction_id_point_transactions
            FOREIGN KEY (transaction_id) REFERENCES point_transactions (id),
        CONSTRAINT ck_point_holds_captured CHECK (captured BETWEEN 0 AND points)
    )
    """,
    "CREATE INDEX ix_point_holds_open ON point_holds (programme, account) WHERE state = 'open'",
    "CREATE INDEX ix_point_holds_account ON point_holds (account)",
    """
    CREATE TABLE point_notes (
        transaction_id uuid NOT NULL,
        customer_id uuid NOT NULL,
        reason text,
        reference text,
        CONSTRAINT pk_point_notes PRIMARY KEY (transaction_id)
    )
    """,
    "CREATE INDEX ix_point_notes_customer_id ON point_notes (customer_id)",
)

TRIGGERS = (
    """
    CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '% is append-only: correct it by a further entry', TG_TABLE_NAME
            USING ERRCODE = 'insufficient_privilege';
    END $$
    """,
    *(
        f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        for table in APPEND_ONLY
    ),
    """
    CREATE FUNCTION refuse_imbalance() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (SELECT FROM written GROUP BY transaction_id HAVING sum(amount) <> 0) THEN
            RAISE EXCEPTION 'the entries of a transaction must sum to zero' USING ERRCODE = 'check_violation';
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER balanced AFTER INSERT ON point_entries REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_imbalance()
    """,
)

# A role is the whole server's: several databases may make it at the same time. Without the right to make roles an
# administrator makes it once, by `CREATE ROLE perennial_app NOLOGIN; GRANT perennial_app TO <owner>`.
ROLE = (
    """
    DO $$ BEGIN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'perennial_app') THEN
            CREATE ROLE perennial_app NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE;
        END IF;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
    END $$
    """,
    """
    DO $$ BEGIN
        IF NOT pg_has_role(current_user, 'perennial_app', 'SET') THEN
            EXECUTE format('GRANT perennial_app TO %I', current_user);
        END IF;
    END $$
    """,
    """
    DO $$ BEGIN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO perennial_app', current_schema());
        EXECUTE format(
            'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO perennial_app', current_schema());
        EXECUTE format('GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA %I TO perennial_app', current_schema());
        EXECUTE format(
            'ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO perennial_app',
            current_schema());
        EXECUTE format(
            'ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT USAGE, SELECT ON SEQUENCES TO perennial_app',
            current_schema());
    END $$
    """,
    *(f"REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM perennial_app" for table in APPEND_ONLY),
    "REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON alembic_version FROM perennial_app",
)


def upgrade() -> None:
    """Expand only: old code must run on the new schema."""
    for statement in (*TABLES, *TRIGGERS, *ROLE):
        op.execute(statement)


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
