"""What the hours of the ledger came to, noted by a trigger, so that the liability is not read from the whole ledger."""

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

_UPGRADE = (
    """
    CREATE TABLE point_totals (
        programme text NOT NULL,
        hour timestamptz NOT NULL,
        bucket text NOT NULL,
        amount bigint NOT NULL,
        CONSTRAINT pk_point_totals PRIMARY KEY (programme, hour, bucket)
    )
    """,
    """
    CREATE TABLE point_total_changes (
        id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_point_total_changes PRIMARY KEY,
        programme text NOT NULL,
        hour timestamptz NOT NULL,
        bucket text NOT NULL,
        amount bigint NOT NULL
    )
    """,
    # Rows that stand here now are told from later ones by their value; none is written anew by it.
    "ALTER TABLE point_transactions ADD COLUMN is_totalled boolean NOT NULL DEFAULT false",
    "ALTER TABLE point_transactions ALTER COLUMN is_totalled SET DEFAULT true",
    "CREATE INDEX ix_point_transactions_effective ON point_transactions (programme, effective_at)",
    # A trigger, since the release before writes into the ledger too while this one starts.
    """
    CREATE FUNCTION note_point_totals() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO point_total_changes (programme, hour, bucket, amount)
        SELECT written.programme, date_trunc('hour', made.effective_at, 'UTC'), written.bucket, sum(written.amount)
        FROM written JOIN point_transactions AS made ON made.id = written.transaction_id
        GROUP BY 1, 2, 3
        HAVING sum(written.amount) <> 0;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER totalled AFTER INSERT ON point_entries REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION note_point_totals()
    """,
)


def upgrade() -> None:
    """Expand only: old code must run on the new schema. The pass over older rows runs after it (point_totals.py)."""
    for statement in _UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
