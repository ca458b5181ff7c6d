CREATE TABLE webhooks (
    id               uuid        NOT NULL,
    client_id        text        NOT NULL,
    url              text        NOT NULL,
    event_types      json        NOT NULL,
    status           text        NOT NULL, -- active, deleted
    deleted_position bigint,               -- null while active
    version          bigint      NOT NULL,
    created_position bigint      NOT NULL,
    last_position    bigint      NOT NULL,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    CONSTRAINT webhooks_pkey PRIMARY KEY (id)
);
CREATE INDEX webhooks_list_idx ON webhooks (client_id, created_position) WHERE status = 'active';
-- Those that an event was for may have been deleted since.
CREATE INDEX webhooks_deleted_idx ON webhooks (deleted_position);
