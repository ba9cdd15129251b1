"""Referrals and share links."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE referral_codes (
        code TEXT NOT NULL,
        customer_id UUID NOT NULL,
        made_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_referral_codes PRIMARY KEY (code),
        CONSTRAINT fk_referral_codes_customer_id_customers FOREIGN KEY(customer_id) REFERENCES customers (id)
    )
    """,
    "CREATE INDEX ix_referral_codes_customer_id ON referral_codes (customer_id)",
    """
    CREATE TABLE referral_clicks (
        code TEXT NOT NULL,
        day DATE NOT NULL,
        actor TEXT NOT NULL,
        clicks BIGINT NOT NULL,
        CONSTRAINT pk_referral_clicks PRIMARY KEY (code, day, actor)
    )
    """,
    """
    CREATE TABLE referrals (
        id UUID NOT NULL,
        programme TEXT NOT NULL,
        referrer_id UUID NOT NULL,
        referee_id UUID,
        token TEXT,
        code TEXT,
        state TEXT NOT NULL,
        reason TEXT,
        invited_at TIMESTAMP WITH TIME ZONE,
        clicked_at TIMESTAMP WITH TIME ZONE,
        claimed_at TIMESTAMP WITH TIME ZONE,
        qualified_at TIMESTAMP WITH TIME ZONE,
        due_at TIMESTAMP WITH TIME ZONE,
        rewarded_at TIMESTAMP WITH TIME ZONE,
        ended_at TIMESTAMP WITH TIME ZONE,
        lapses_at TIMESTAMP WITH TIME ZONE NOT NULL,
        version BIGINT,
        event_id UUID,
        order_id TEXT,
        rounds SMALLINT DEFAULT 0 NOT NULL,
        score SMALLINT DEFAULT 0 NOT NULL,
        suspicions JSONB DEFAULT '[]' NOT NULL,
        CONSTRAINT pk_referrals PRIMARY KEY (id)
    )
    """,
    "CREATE INDEX ix_referrals_due ON referrals (due_at) WHERE state = 'held'",
    """
    CREATE INDEX ix_referrals_lapsing
        ON referrals (lapses_at)
        WHERE state IN ('invited', 'clicked', 'claimed', 'under_review')
    """,
    "CREATE INDEX ix_referrals_referee_id ON referrals (referee_id)",
    "CREATE INDEX ix_referrals_referrer_id ON referrals (referrer_id, id)",
    "CREATE INDEX ix_referrals_review ON referrals (id) WHERE state = 'under_review'",
    """
    CREATE UNIQUE INDEX uq_referrals_referee
        ON referrals (programme, referee_id)
        WHERE state IN ('claimed', 'held', 'qualified', 'rewarded', 'under_review')
    """,
    "CREATE UNIQUE INDEX uq_referrals_token ON referrals (token)",
    """
    CREATE TABLE referral_signals (
        referral_id UUID NOT NULL,
        kind TEXT NOT NULL,
        hash BYTEA NOT NULL,
        at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_referral_signals PRIMARY KEY (referral_id, kind),
        CONSTRAINT fk_referral_signals_referral_id_referrals FOREIGN KEY(referral_id) REFERENCES referrals (id)
    )
    """,
    "CREATE INDEX ix_referral_signals_hash ON referral_signals (hash, kind, at)",
    """
    CREATE TABLE share_links (
        id UUID NOT NULL,
        token TEXT NOT NULL,
        customer_id UUID NOT NULL,
        action TEXT NOT NULL,
        object TEXT NOT NULL,
        target TEXT NOT NULL,
        event TEXT,
        made_at TIMESTAMP WITH TIME ZONE NOT NULL,
        visitors BIGINT DEFAULT 0 NOT NULL,
        verified_at TIMESTAMP WITH TIME ZONE,
        ordered_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_share_links PRIMARY KEY (id),
        CONSTRAINT uq_share_links_once UNIQUE (customer_id, action, object),
        CONSTRAINT uq_share_links_token UNIQUE (token),
        CONSTRAINT fk_share_links_customer_id_customers FOREIGN KEY(customer_id) REFERENCES customers (id)
    )
    """,
    """
    CREATE TABLE share_visits (
        share_id UUID NOT NULL,
        visitor BYTEA NOT NULL,
        at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_share_visits PRIMARY KEY (share_id, visitor),
        CONSTRAINT fk_share_visits_share_id_share_links FOREIGN KEY(share_id)
            REFERENCES share_links (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE submissions (
        id UUID NOT NULL,
        customer_id UUID NOT NULL,
        action TEXT NOT NULL,
        object TEXT NOT NULL,
        state TEXT NOT NULL,
        reason TEXT,
        event TEXT,
        detail JSONB DEFAULT '{}' NOT NULL,
        submitted_at TIMESTAMP WITH TIME ZONE NOT NULL,
        decided_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_submissions PRIMARY KEY (id),
        CONSTRAINT uq_submissions_once UNIQUE (customer_id, action, object),
        CONSTRAINT fk_submissions_customer_id_customers FOREIGN KEY(customer_id) REFERENCES customers (id)
    )
    """,
    "CREATE INDEX ix_submissions_state ON submissions (state, id)",
    """
    CREATE TABLE social_posts (
        network TEXT NOT NULL,
        post_id TEXT NOT NULL,
        url TEXT,
        posted_at TIMESTAMP WITH TIME ZONE NOT NULL,
        measured_at TIMESTAMP WITH TIME ZONE NOT NULL,
        engagements BIGINT NOT NULL,
        reach BIGINT,
        impressions BIGINT,
        followers BIGINT,
        CONSTRAINT pk_social_posts PRIMARY KEY (network, post_id)
    )
    """,
    "CREATE INDEX ix_social_posts_posted_at ON social_posts (posted_at)",
)


def upgrade() -> None:
    """Expand only: old code must run on the new schema."""
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
