"""What members of a challenge came to together, noted by triggers; moves of points of one account, the latest first."""

from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None

# A note per statement, challenge and period: what the statement changed, nothing where it changed no figure.
_NOTE = """
    CREATE FUNCTION note_challenge_totals_{event}() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO challenge_total_changes (challenge, period, amount)
        SELECT challenge, period, sum(amount) FROM ({changed}) AS changed
        GROUP BY challenge, period
        HAVING sum(amount) <> 0;
        RETURN NULL;
    END $$
"""
_TRIGGER = """
    CREATE TRIGGER totalled_{event} AFTER {event} ON challenge_progress REFERENCING {tables}
    FOR EACH STATEMENT EXECUTE FUNCTION note_challenge_totals_{event}()
"""
_IN = "SELECT challenge, period, figure AS amount FROM written"
_OUT = "SELECT challenge, period, -figure AS amount FROM gone"
_TRIGGERS = (
    ("insert", _IN, "NEW TABLE AS written"),
    ("update", f"{_IN} UNION ALL {_OUT}", "NEW TABLE AS written OLD TABLE AS gone"),
    ("delete", _OUT, "OLD TABLE AS gone"),
)

_UPGRADE = (
    """
    CREATE TABLE challenge_totals (
        challenge text NOT NULL,
        period text NOT NULL,
        amount numeric NOT NULL,
        CONSTRAINT pk_challenge_totals PRIMARY KEY (challenge, period)
    )
    """,
    """
    CREATE TABLE challenge_total_changes (
        id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_challenge_total_changes PRIMARY KEY,
        challenge text NOT NULL,
        period text NOT NULL,
        amount numeric NOT NULL
    )
    """,
    "CREATE INDEX ix_challenge_total_changes_period ON challenge_total_changes (challenge, period)",
    # Triggers, since the release before writes progress too while this one starts.
    *(_NOTE.format(event=event, changed=changed) for event, changed, _ in _TRIGGERS),
    *(_TRIGGER.format(event=event, tables=tables) for event, _, tables in _TRIGGERS),
    # The triggers' lock keeps writers out until the end of the migration, so that none is missed or counted twice.
    """
    INSERT INTO challenge_totals (challenge, period, amount)
    SELECT challenge, period, sum(figure) FROM challenge_progress GROUP BY challenge, period
    """,
    "CREATE INDEX ix_point_entries_history ON point_entries (programme, account, transaction_id)",
)


def upgrade() -> None:
    """Expand only: old code must run on the new schema. It sums members itself, and does not miss the index."""
    for statement in _UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
