"""Rewards, redemptions and coupons."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE reward_stocks (
        reward TEXT NOT NULL,
        taken BIGINT DEFAULT 0 NOT NULL,
        CONSTRAINT pk_reward_stocks PRIMARY KEY (reward),
        CONSTRAINT ck_reward_stocks_taken CHECK (taken >= 0)
    )
    """,
    """
    CREATE TABLE redemptions (
        id UUID NOT NULL,
        customer_id UUID NOT NULL,
        reward TEXT NOT NULL,
        version BIGINT NOT NULL,
        key TEXT NOT NULL,
        is_given BOOLEAN DEFAULT false NOT NULL,
        is_delivered BOOLEAN DEFAULT false NOT NULL,
        points BIGINT DEFAULT 0 NOT NULL,
        programme TEXT,
        hold_id UUID,
        state TEXT NOT NULL,
        code TEXT,
        requested_at TIMESTAMP WITH TIME ZONE NOT NULL,
        issued_at TIMESTAMP WITH TIME ZONE,
        ended_at TIMESTAMP WITH TIME ZONE,
        expires_at TIMESTAMP WITH TIME ZONE,
        reason TEXT,
        review TEXT,
        is_doubtful BOOLEAN DEFAULT false NOT NULL,
        CONSTRAINT pk_redemptions PRIMARY KEY (id),
        CONSTRAINT fk_redemptions_customer_id_customers FOREIGN KEY (customer_id) REFERENCES customers (id)
    )
    """,
    "CREATE UNIQUE INDEX uq_redemptions_key ON redemptions (key)",
    "CREATE INDEX ix_redemptions_customer ON redemptions (customer_id, requested_at)",
    "CREATE INDEX ix_redemptions_reward ON redemptions (reward, requested_at)",
    "CREATE INDEX ix_redemptions_requested_at ON redemptions (requested_at, id)",
    """
    CREATE INDEX ix_redemptions_due ON redemptions (expires_at)
        WHERE state IN ('reserved', 'issued') AND expires_at IS NOT NULL AND review IS NULL AND NOT is_doubtful
    """,
    "CREATE INDEX ix_redemptions_review ON redemptions (requested_at, id) WHERE review IS NOT NULL",
    """
    CREATE TABLE coupons (
        code TEXT NOT NULL,
        number BIGINT GENERATED ALWAYS AS IDENTITY NOT NULL,
        reward TEXT NOT NULL,
        version BIGINT,
        state TEXT NOT NULL,
        is_loaded BOOLEAN DEFAULT true NOT NULL,
        customer_id UUID,
        redemption_id UUID,
        uses BIGINT,
        uses_per_customer BIGINT,
        valid_from TIMESTAMP WITH TIME ZONE,
        valid_until TIMESTAMP WITH TIME ZONE,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        CONSTRAINT pk_coupons PRIMARY KEY (code),
        CONSTRAINT fk_coupons_customer_id_customers FOREIGN KEY (customer_id) REFERENCES customers (id)
    )
    """,
    "CREATE INDEX ix_coupons_pool ON coupons (reward, number) WHERE state = 'pooled' AND is_loaded",
    "CREATE INDEX ix_coupons_customer_id ON coupons (customer_id)",
    "CREATE INDEX ix_coupons_redemption_id ON coupons (redemption_id)",
    """
    CREATE TABLE coupon_uses (
        id UUID NOT NULL,
        code TEXT NOT NULL,
        order_id TEXT NOT NULL,
        customer_id UUID,
        state TEXT NOT NULL,
        held_until TIMESTAMP WITH TIME ZONE,
        currency TEXT NOT NULL,
        discount BIGINT NOT NULL,
        shipping BIGINT NOT NULL,
        shares JSONB NOT NULL,
        at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_coupon_uses PRIMARY KEY (id),
        CONSTRAINT uq_coupon_uses_code_order_id UNIQUE (code, order_id),
        CONSTRAINT fk_coupon_uses_code_coupons FOREIGN KEY (code) REFERENCES coupons (code),
        CONSTRAINT fk_coupon_uses_customer_id_customers FOREIGN KEY (customer_id) REFERENCES customers (id)
    )
    """,
    "CREATE INDEX ix_coupon_uses_order_id ON coupon_uses (order_id)",
    "CREATE INDEX ix_coupon_uses_customer_id ON coupon_uses (customer_id)",
)


def upgrade() -> None:
    """Expand only: old code must run on the new schema."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Migrations go forward; correct with a further one."""
    raise RuntimeError("migrations go forward only")
