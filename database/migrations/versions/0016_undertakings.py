"""What the database knows to be under way in Temporal: undertakings, times of schedules, the mark."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_TABLES = (
    """
    CREATE TABLE undertakings (
        workflow_id text NOT NULL CONSTRAINT pk_undertakings PRIMARY KEY,
        kind text NOT NULL,
        input jsonb NOT NULL,
        shown jsonb NOT NULL,
        undertaken_at timestamptz NOT NULL,
        due_at timestamptz NOT NULL,
        done_at timestamptz
    )
    """,
    "CREATE INDEX ix_undertakings_open ON undertakings (workflow_id) WHERE done_at IS NULL",
    "CREATE INDEX ix_undertakings_done_at ON undertakings (done_at) WHERE done_at IS NOT NULL",
    """
    CREATE TABLE schedule_fires (
        journey text NOT NULL,
        entry bigint NOT NULL,
        nominal_at timestamptz NOT NULL,
        next_customer uuid,
        done_at timestamptz,
        CONSTRAINT pk_schedule_fires PRIMARY KEY (journey, entry, nominal_at)
    )
    """,
    "CREATE INDEX ix_schedule_fires_open ON schedule_fires (nominal_at) WHERE done_at IS NULL",
    "CREATE INDEX ix_schedule_fires_done_at ON schedule_fires (done_at) WHERE done_at IS NOT NULL",
    """
    CREATE TABLE temporal_mark (
        id bigint NOT NULL CONSTRAINT pk_temporal_mark PRIMARY KEY CONSTRAINT ck_temporal_mark_one_row CHECK (id = 1),
        workflow_id text,
        execution_id text,
        marked_at timestamptz,
        looked_at timestamptz,
        leased_by uuid,
        leased_until timestamptz,
        lost_at timestamptz,
        recovered jsonb NOT NULL DEFAULT '{}'
    )
    """,
    """
    CREATE TABLE passes (
        name text NOT NULL CONSTRAINT pk_passes PRIMARY KEY,
        until timestamptz NOT NULL
    )
    """,
    # Runs whose workflow has not spoken yet: few, unless workers or Temporal are away.
    "CREATE INDEX ix_runs_unbound ON runs (entered_at) WHERE state = 'active' AND first_run_id IS NULL",
)

# What was under way before anything was written down: whatever is open, also redemptions that the shop was asked for.
_BEGUN = (
    """
    INSERT INTO undertakings (workflow_id, kind, input, shown, undertaken_at, due_at)
    SELECT 'erasure/' || id, 'Erasure', jsonb_build_object('erasure_id', id),
           '{"summary": "Erase a customer"}', requested_at, requested_at + interval '1 day'
    FROM erasures WHERE state <> 'completed'
    """,
    """
    INSERT INTO undertakings (workflow_id, kind, input, shown, undertaken_at, due_at)
    SELECT 'referral/' || id || '/' || rounds, 'ReferralHold', jsonb_build_object('referral_id', id, 'due_at', due_at),
           '{"summary": "A referral''s hold: both sides are rewarded when it ends"}', qualified_at, due_at
    FROM referrals WHERE state = 'held' AND due_at IS NOT NULL AND qualified_at IS NOT NULL
    """,
    """
    INSERT INTO undertakings (workflow_id, kind, input, shown, undertaken_at, due_at)
    SELECT 'redemption/' || r.id, 'Redemption', jsonb_build_object('redemption_id', r.id),
           jsonb_build_object('attributes', jsonb_build_object('CustomerId', r.customer_id),
                              'summary', 'Redemption of ' || r.reward),
           r.requested_at, r.requested_at + interval '1 day'
    FROM redemptions r
    JOIN document_versions v ON v.kind = 'reward' AND v.key = r.reward AND v.version = r.version
    WHERE r.state IN ('reserved', 'issued') AND r.review IS NULL AND v.document ? 'fulfil'
    """,
)


def upgrade() -> None:
    """New tables, which old code does not know; its own starts are adopted when they are looked for."""
    for statement in (*_TABLES, *_BEGUN):
        op.execute(statement)


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
