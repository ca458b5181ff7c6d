-- +goose Up
-- Who reads the log, how far each has got, and what stopped it.

-- A row per subscriber and version. position is the checkpoint: a read model moves it in the transaction that also writes
-- its rows, a policy by compare-and-set once it has handled the events.
CREATE TABLE annals.subscribers (
    name               text        NOT NULL,
    version            integer     NOT NULL,
    kind               text        NOT NULL,
    position           bigint      NOT NULL DEFAULT 0,
    -- failed: stopped at the event of the failure, until retry_at or until an operator has decided.
    -- rebuilding is as running to the subscriber; its rows stay live and current until the switch.
    status             text        NOT NULL DEFAULT 'running',
    retry_at           timestamptz,
    failure_position   bigint,
    failure_event_id   uuid,
    failure_event_type text,
    failure_error      text,
    failure_attempts   integer     NOT NULL DEFAULT 0,
    failed_at          timestamptz,          -- the first of the attempts
    lease_holder       uuid,                 -- policies: the node that works
    lease_until        timestamptz,          -- policies: when another one may take over
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT subscribers_pkey PRIMARY KEY (name, version),
    CONSTRAINT subscribers_kind_check CHECK (kind IN ('read_model', 'policy', 'sealer')),
    CONSTRAINT subscribers_status_check CHECK (status IN ('running', 'paused', 'failed', 'rebuilding')),
    CONSTRAINT subscribers_position_check CHECK (position >= 0)
) WITH (fillfactor = 50); -- each page updates a row: room for that on its own database page

-- Events that an operator told a subscriber to leave out. A rebuild of that version leaves them out too.
CREATE TABLE annals.skipped_events (
    projection text        NOT NULL,
    version    integer     NOT NULL,
    position   bigint      NOT NULL,
    reason     text        NOT NULL,
    actor      text        NOT NULL,
    skipped_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT skipped_events_pkey PRIMARY KEY (projection, version, position)
);

-- +goose StatementBegin
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'annals_app') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON annals.subscribers TO annals_app;
        GRANT SELECT, INSERT ON annals.skipped_events TO annals_app;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'annals_query') THEN
        GRANT SELECT ON annals.subscribers TO annals_query;
    END IF;
END
$$;
-- +goose StatementEnd

-- +goose Down
DROP TABLE annals.skipped_events;
DROP TABLE annals.subscribers;
