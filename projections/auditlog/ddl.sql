-- One row per event, as it was recorded.
CREATE TABLE entries (
    position       bigint      NOT NULL,
    event_id       uuid        NOT NULL,
    event_type     text        NOT NULL,
    aggregate_type text        NOT NULL,
    aggregate_id   uuid        NOT NULL,
    client_id      text        NOT NULL,
    actor_id       text        NOT NULL,
    occurred_at    timestamptz NOT NULL,
    recorded_at    timestamptz NOT NULL,
    correlation_id text        NOT NULL,
    causation_id   text        NOT NULL,
    request_id     text        NOT NULL,
    event_data     json        NOT NULL, -- the bytes of the log
    CONSTRAINT entries_pkey PRIMARY KEY (position)
);
CREATE INDEX entries_client_idx ON entries (client_id, position);
CREATE INDEX entries_aggregate_idx ON entries (aggregate_id, position);
CREATE INDEX entries_correlation_idx ON entries (correlation_id, position);
