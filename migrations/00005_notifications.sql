-- +goose Up
-- Who is still to be told of which event. Webhooks themselves are streams of the log; what must not be in the log, or
-- isn't worth an event, is here.

-- Written before the webhook's stream begins, deleted with the webhook. Only the program reads it.
CREATE TABLE annals.webhook_secrets (
    webhook_id uuid        NOT NULL,
    client_id  text        NOT NULL,
    secret     text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT webhook_secrets_pkey PRIMARY KEY (webhook_id)
);

-- Mail goes to the operators, from the first event after the one at which mail was configured.
CREATE TABLE annals.mail_receiver (
    singleton boolean NOT NULL DEFAULT true CHECK (singleton),
    since     bigint  NOT NULL,
    CONSTRAINT mail_receiver_pkey PRIMARY KEY (singleton)
);

-- A row per event and receiver: a webhook, or the mail receiver. Each receiver's rows are a queue of their own. The event
-- itself stays in the log.
CREATE TABLE annals.deliveries (
    receiver_id     uuid        NOT NULL,
    event_id        uuid        NOT NULL,
    position        bigint      NOT NULL, -- of the event
    client_id       text        NOT NULL,
    state           text        NOT NULL DEFAULT 'pending', -- dead: given up, until a redelivery is asked for
    attempts        integer     NOT NULL DEFAULT 0,         -- those under way included
    next_attempt_at timestamptz NOT NULL DEFAULT now(),     -- of one under way: when it counts as lost
    last_error      text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    settled_at      timestamptz,                            -- delivered or given up
    CONSTRAINT deliveries_pkey PRIMARY KEY (receiver_id, event_id),
    CONSTRAINT deliveries_state_check CHECK (state IN ('pending', 'delivered', 'dead'))
) WITH (fillfactor = 70);
CREATE INDEX deliveries_due_idx ON annals.deliveries (receiver_id, next_attempt_at) WHERE state = 'pending';
CREATE INDEX deliveries_dead_idx ON annals.deliveries (receiver_id, position) WHERE state = 'dead';
CREATE INDEX deliveries_delivered_idx ON annals.deliveries (settled_at) WHERE state = 'delivered';

ALTER TABLE annals.webhook_secrets ENABLE ROW LEVEL SECURITY;
ALTER TABLE annals.deliveries ENABLE ROW LEVEL SECURITY;

-- +goose StatementBegin
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'annals_app') THEN
        GRANT SELECT, INSERT, DELETE ON annals.webhook_secrets TO annals_app;
        GRANT SELECT, INSERT ON annals.mail_receiver TO annals_app;
        GRANT SELECT, INSERT, UPDATE, DELETE ON annals.deliveries TO annals_app;
        CREATE POLICY webhook_secrets_app ON annals.webhook_secrets TO annals_app USING (true);
        CREATE POLICY deliveries_app ON annals.deliveries TO annals_app USING (true);
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'annals_query') THEN
        GRANT SELECT ON annals.deliveries TO annals_query;
        CREATE POLICY deliveries_client ON annals.deliveries FOR SELECT TO annals_query
            USING (client_id = current_setting('annals.client', true)
                   OR current_setting('annals.client', true) = '*');
    END IF;
END
$$;
-- +goose StatementEnd

-- +goose Down
DROP TABLE annals.deliveries;
DROP TABLE annals.mail_receiver;
DROP TABLE annals.webhook_secrets;
