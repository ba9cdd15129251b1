-- The foundation: events, customers, journeys, runs, messages and what they need.

CREATE TABLE audit_log (
    id UUID NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    detail JSONB NOT NULL,
    CONSTRAINT pk_audit_log PRIMARY KEY (id)
);

CREATE INDEX ix_audit_log_at ON audit_log (at, id);

CREATE TABLE customers (
    id UUID NOT NULL,
    external_id TEXT,
    traits JSONB DEFAULT '{}' NOT NULL,
    trait_times JSONB DEFAULT '{}' NOT NULL,
    observed JSONB DEFAULT '{}' NOT NULL,
    email TEXT,
    zone TEXT,
    locale TEXT,
    first_seen TIMESTAMP WITH TIME ZONE NOT NULL,
    last_seen TIMESTAMP WITH TIME ZONE NOT NULL,
    last_number BIGINT DEFAULT 0 NOT NULL,
    held_until TIMESTAMP WITH TIME ZONE,
    merged_into UUID,
    erased_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_customers PRIMARY KEY (id)
);

CREATE INDEX ix_customers_email ON customers (email);

CREATE UNIQUE INDEX uq_customers_external_id ON customers (external_id) WHERE merged_into IS NULL AND external_id IS NOT NULL;

CREATE TABLE document_changes (
    kind TEXT NOT NULL,
    number BIGINT DEFAULT 0 NOT NULL,
    CONSTRAINT pk_document_changes PRIMARY KEY (kind)
);

CREATE TABLE documents (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    draft JSONB NOT NULL,
    state TEXT NOT NULL,
    live_version BIGINT,
    etag TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_documents PRIMARY KEY (kind, key)
);

CREATE INDEX ix_documents_state ON documents (kind, state);

CREATE TABLE erased_identities (
    kind TEXT NOT NULL,
    hash BYTEA NOT NULL,
    erased_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_erased_identities PRIMARY KEY (kind, hash)
);

CREATE TABLE erasures (
    id UUID NOT NULL,
    customer_id UUID NOT NULL,
    state TEXT NOT NULL,
    requested_at TIMESTAMP WITH TIME ZONE NOT NULL,
    requested_by TEXT NOT NULL,
    completed_at TIMESTAMP WITH TIME ZONE,
    traces JSONB NOT NULL,
    proof JSONB NOT NULL,
    CONSTRAINT pk_erasures PRIMARY KEY (id)
);

CREATE UNIQUE INDEX uq_erasures_open ON erasures (customer_id) WHERE state <> 'completed';

CREATE TABLE event_keys (
    source TEXT NOT NULL,
    message_id TEXT NOT NULL,
    event_id UUID NOT NULL,
    fingerprint BYTEA NOT NULL,
    CONSTRAINT pk_event_keys PRIMARY KEY (source, message_id)
)
 PARTITION BY HASH (source, message_id);

CREATE TABLE events (
    id UUID NOT NULL,
    source TEXT NOT NULL,
    message_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    subject TEXT NOT NULL,
    user_id TEXT,
    anonymous_id TEXT,
    previous_id TEXT,
    timestamp TIMESTAMP WITH TIME ZONE NOT NULL,
    sent_timestamp TEXT,
    received_at TIMESTAMP WITH TIME ZONE NOT NULL,
    properties JSONB NOT NULL,
    traits JSONB NOT NULL,
    context JSONB NOT NULL,
    trusted BOOLEAN NOT NULL,
    depth SMALLINT DEFAULT 0 NOT NULL,
    status TEXT DEFAULT 'pending' NOT NULL,
    customer_id UUID,
    number BIGINT,
    routed_at TIMESTAMP WITH TIME ZONE,
    changed_traits JSONB,
    attempts SMALLINT DEFAULT 0 NOT NULL,
    not_before TIMESTAMP WITH TIME ZONE,
    error TEXT,
    CONSTRAINT pk_events PRIMARY KEY (id)
);

CREATE INDEX ix_events_customer_name ON events (customer_id, name, timestamp);

CREATE INDEX ix_events_customer_number ON events (customer_id, number);

CREATE INDEX ix_events_name_timestamp ON events (name, timestamp);

CREATE INDEX ix_events_pending ON events (id) WHERE status = 'pending';

CREATE INDEX ix_events_pending_subject ON events (subject, id) WHERE status = 'pending';

CREATE INDEX ix_events_quarantined ON events (id) WHERE status = 'quarantined';

CREATE TABLE idempotency_keys (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint BYTEA NOT NULL,
    status SMALLINT NOT NULL,
    headers JSONB NOT NULL,
    body BYTEA NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    customer_id UUID,
    CONSTRAINT pk_idempotency_keys PRIMARY KEY (scope, key)
);

CREATE INDEX ix_idempotency_keys_customer_id ON idempotency_keys (customer_id);

CREATE TABLE keys (
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    source TEXT NOT NULL,
    kind TEXT NOT NULL,
    scopes JSONB NOT NULL,
    secret_hash BYTEA NOT NULL,
    previous_hash BYTEA,
    previous_until TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    revoked_at TIMESTAMP WITH TIME ZONE,
    last_used_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_keys PRIMARY KEY (id)
);

CREATE TABLE outbox (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    kind TEXT NOT NULL,
    workflow_id TEXT NOT NULL,
    payload JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    attempts SMALLINT DEFAULT 0 NOT NULL,
    not_before TIMESTAMP WITH TIME ZONE,
    error TEXT,
    CONSTRAINT pk_outbox PRIMARY KEY (id)
);

CREATE INDEX ix_outbox_workflow ON outbox (workflow_id, id);

CREATE TABLE products (
    product_id TEXT NOT NULL,
    sku TEXT,
    name TEXT,
    category TEXT,
    brand TEXT,
    price BIGINT,
    currency TEXT,
    url TEXT,
    image_url TEXT,
    attributes JSONB NOT NULL,
    seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
    trusted BOOLEAN NOT NULL,
    CONSTRAINT pk_products PRIMARY KEY (product_id)
);

CREATE TABLE provider_rates (
    provider TEXT NOT NULL,
    tat TIMESTAMP WITH TIME ZONE NOT NULL,
    transactional_until TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_provider_rates PRIMARY KEY (provider)
);

CREATE TABLE secrets (
    name TEXT NOT NULL,
    value BYTEA NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_secrets PRIMARY KEY (name)
);

CREATE TABLE shop_settings (
    "only" BOOLEAN DEFAULT true NOT NULL,
    document JSONB NOT NULL,
    etag TEXT NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_shop_settings PRIMARY KEY ("only")
);

CREATE TABLE suppressions (
    address_hash BYTEA NOT NULL,
    channel TEXT NOT NULL,
    reason TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    message_id UUID,
    CONSTRAINT pk_suppressions PRIMARY KEY (address_hash, channel)
);

CREATE TABLE carts (
    customer_id UUID NOT NULL,
    cart_id TEXT NOT NULL,
    state TEXT NOT NULL,
    lines JSONB NOT NULL,
    changed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_carts PRIMARY KEY (customer_id, cart_id),
    CONSTRAINT fk_carts_customer_id_customers FOREIGN KEY(customer_id) REFERENCES customers (id)
);

CREATE TABLE consents (
    id UUID NOT NULL,
    customer_id UUID NOT NULL,
    purpose TEXT NOT NULL,
    channel TEXT NOT NULL,
    state TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    source TEXT NOT NULL,
    evidence JSONB NOT NULL,
    event_id UUID NOT NULL,
    CONSTRAINT pk_consents PRIMARY KEY (id),
    CONSTRAINT fk_consents_customer_id_customers FOREIGN KEY(customer_id) REFERENCES customers (id)
);

CREATE INDEX ix_consents_customer ON consents (customer_id, purpose, channel, at, id);

CREATE UNIQUE INDEX uq_consents_event_id ON consents (event_id, purpose, channel);

CREATE TABLE dates_due (
    journey TEXT NOT NULL,
    entry BIGINT NOT NULL,
    customer_id UUID NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE NOT NULL,
    occasion TEXT NOT NULL,
    CONSTRAINT pk_dates_due PRIMARY KEY (journey, entry, customer_id),
    CONSTRAINT fk_dates_due_customer_id_customers FOREIGN KEY(customer_id) REFERENCES customers (id)
);

CREATE INDEX ix_dates_due_due_at ON dates_due (due_at);

CREATE TABLE document_versions (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    version BIGINT NOT NULL,
    document JSONB NOT NULL,
    published_at TIMESTAMP WITH TIME ZONE NOT NULL,
    published_by TEXT,
    CONSTRAINT pk_document_versions PRIMARY KEY (kind, key, version),
    CONSTRAINT fk_document_versions_kind_key_documents FOREIGN KEY(kind, key) REFERENCES documents (kind, key)
);

CREATE TABLE entry_decisions (
    journey TEXT NOT NULL,
    customer_id UUID NOT NULL,
    event_id UUID NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    version BIGINT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT,
    failed_leaf TEXT,
    run_id UUID,
    CONSTRAINT pk_entry_decisions PRIMARY KEY (journey, customer_id, event_id),
    CONSTRAINT fk_entry_decisions_customer_id_customers FOREIGN KEY(customer_id) REFERENCES customers (id)
);

CREATE INDEX ix_entry_decisions_at ON entry_decisions (journey, customer_id, at);

CREATE TABLE identities (
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    customer_id UUID NOT NULL,
    first_seen TIMESTAMP WITH TIME ZONE NOT NULL,
    superseded BOOLEAN DEFAULT false NOT NULL,
    linked_at TIMESTAMP WITH TIME ZONE,
    linked_by TEXT,
    CONSTRAINT pk_identities PRIMARY KEY (kind, value),
    CONSTRAINT fk_identities_customer_id_customers FOREIGN KEY(customer_id) REFERENCES customers (id)
);

CREATE INDEX ix_identities_customer_id ON identities (customer_id);

CREATE TABLE messages (
    id UUID NOT NULL,
    customer_id UUID,
    channel TEXT NOT NULL,
    purpose TEXT NOT NULL,
    template TEXT NOT NULL,
    template_version BIGINT,
    journey TEXT,
    journey_version BIGINT,
    run_id UUID,
    step TEXT,
    visit BIGINT,
    campaign TEXT,
    state TEXT NOT NULL,
    reason TEXT,
    rule JSONB,
    "to" TEXT,
    sender TEXT,
    subject TEXT,
    html TEXT,
    text TEXT,
    headers JSONB DEFAULT '{}' NOT NULL,
    provider TEXT,
    provider_id TEXT,
    not_after TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    attempting_at TIMESTAMP WITH TIME ZONE,
    accepted_at TIMESTAMP WITH TIME ZONE,
    settled_at TIMESTAMP WITH TIME ZONE,
    attempts JSONB DEFAULT '[]' NOT NULL,
    resent BOOLEAN DEFAULT false NOT NULL,
    CONSTRAINT pk_messages PRIMARY KEY (id),
    CONSTRAINT uq_messages_run_id_step_visit UNIQUE (run_id, step, visit),
    CONSTRAINT fk_messages_customer_id_customers FOREIGN KEY(customer_id) REFERENCES customers (id)
);

CREATE INDEX ix_messages_claimed ON messages (channel) WHERE state = 'claimed';

CREATE INDEX ix_messages_created_at ON messages (created_at, id);

CREATE INDEX ix_messages_customer ON messages (customer_id, created_at);

CREATE INDEX ix_messages_journey ON messages (journey, step);

CREATE INDEX ix_messages_provider_id ON messages (provider_id);

CREATE INDEX ix_messages_unsettled ON messages (attempting_at) WHERE state IN ('attempting', 'unknown');

CREATE TABLE orders (
    order_id TEXT NOT NULL,
    customer_id UUID NOT NULL,
    state TEXT NOT NULL,
    currency TEXT NOT NULL,
    total BIGINT,
    subtotal BIGINT,
    revenue BIGINT,
    shipping BIGINT,
    tax BIGINT,
    discount BIGINT,
    refunded BIGINT DEFAULT 0 NOT NULL,
    coupon TEXT,
    lines JSONB NOT NULL,
    completed_at TIMESTAMP WITH TIME ZONE,
    cancelled BOOLEAN DEFAULT false NOT NULL,
    changed_at JSONB DEFAULT '{}' NOT NULL,
    CONSTRAINT pk_orders PRIMARY KEY (order_id),
    CONSTRAINT fk_orders_customer_id_customers FOREIGN KEY(customer_id) REFERENCES customers (id)
);

CREATE INDEX ix_orders_customer ON orders (customer_id, completed_at);

CREATE TABLE product_views (
    customer_id UUID NOT NULL,
    product_id TEXT NOT NULL,
    views BIGINT NOT NULL,
    viewed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_product_views PRIMARY KEY (customer_id, product_id),
    CONSTRAINT fk_product_views_customer_id_customers FOREIGN KEY(customer_id) REFERENCES customers (id)
);

CREATE INDEX ix_product_views_customer ON product_views (customer_id, viewed_at);

CREATE TABLE refunds (
    event_id UUID NOT NULL,
    order_id TEXT NOT NULL,
    customer_id UUID NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    total BIGINT,
    currency TEXT,
    lines JSONB NOT NULL,
    CONSTRAINT pk_refunds PRIMARY KEY (event_id),
    CONSTRAINT fk_refunds_customer_id_customers FOREIGN KEY(customer_id) REFERENCES customers (id)
);

CREATE INDEX ix_refunds_customer_id ON refunds (customer_id);

CREATE INDEX ix_refunds_order ON refunds (order_id);

CREATE TABLE runs (
    id UUID NOT NULL,
    journey TEXT NOT NULL,
    version BIGINT NOT NULL,
    customer_id UUID NOT NULL,
    occasion TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    shadow BOOLEAN NOT NULL,
    held BOOLEAN DEFAULT false NOT NULL,
    step TEXT,
    waiting_for JSONB,
    entry_number BIGINT,
    seen_number BIGINT NOT NULL,
    entry JSONB NOT NULL,
    saved JSONB DEFAULT '{}' NOT NULL,
    variants JSONB DEFAULT '{}' NOT NULL,
    depth BIGINT DEFAULT 0 NOT NULL,
    entered_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    converted_at TIMESTAMP WITH TIME ZONE,
    conversion JSONB,
    workflow_id TEXT NOT NULL,
    first_run_id TEXT,
    execution_id TEXT,
    moves JSONB DEFAULT '[]' NOT NULL,
    CONSTRAINT pk_runs PRIMARY KEY (id),
    CONSTRAINT uq_runs_journey_customer_id_occasion UNIQUE (journey, customer_id, occasion),
    CONSTRAINT uq_runs_workflow_id UNIQUE (workflow_id),
    CONSTRAINT fk_runs_customer_id_customers FOREIGN KEY(customer_id) REFERENCES customers (id)
);

CREATE INDEX ix_runs_active ON runs (customer_id) WHERE state = 'active';

CREATE INDEX ix_runs_customer ON runs (customer_id, entered_at);

CREATE INDEX ix_runs_entered_at ON runs (entered_at, id);

CREATE INDEX ix_runs_journey ON runs (journey, version, state, step);

CREATE TABLE links (
    token TEXT NOT NULL,
    message_id UUID NOT NULL,
    kind TEXT NOT NULL,
    target TEXT,
    CONSTRAINT pk_links PRIMARY KEY (token),
    CONSTRAINT fk_links_message_id_messages FOREIGN KEY(message_id) REFERENCES messages (id)
);

CREATE INDEX ix_links_message ON links (message_id);

CREATE TABLE message_events (
    provider TEXT NOT NULL,
    provider_event_id TEXT NOT NULL,
    message_id UUID NOT NULL,
    kind TEXT NOT NULL,
    actor TEXT,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    detail JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_message_events PRIMARY KEY (provider, provider_event_id),
    CONSTRAINT fk_message_events_message_id_messages FOREIGN KEY(message_id) REFERENCES messages (id)
);

CREATE INDEX ix_message_events_message ON message_events (message_id, kind);

CREATE TABLE run_steps (
    run_id UUID NOT NULL,
    step TEXT NOT NULL,
    visit BIGINT NOT NULL,
    kind TEXT NOT NULL,
    reached_at TIMESTAMP WITH TIME ZONE NOT NULL,
    at TIMESTAMP WITH TIME ZONE,
    outcome TEXT NOT NULL,
    reason TEXT,
    detail JSONB DEFAULT '{}' NOT NULL,
    CONSTRAINT pk_run_steps PRIMARY KEY (run_id, step, visit),
    CONSTRAINT fk_run_steps_run_id_runs FOREIGN KEY(run_id) REFERENCES runs (id)
);

CREATE TABLE waits (
    run_id UUID NOT NULL,
    step TEXT NOT NULL,
    visit BIGINT NOT NULL,
    customer_id UUID NOT NULL,
    version BIGINT NOT NULL,
    status TEXT NOT NULL,
    registered_at TIMESTAMP WITH TIME ZONE NOT NULL,
    deadline TIMESTAMP WITH TIME ZONE,
    met_alternative BIGINT,
    met_event_id UUID,
    settled_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_waits PRIMARY KEY (run_id, step, visit),
    CONSTRAINT fk_waits_run_id_runs FOREIGN KEY(run_id) REFERENCES runs (id)
);

CREATE INDEX ix_waits_waiting ON waits (customer_id) WHERE status = 'waiting';
