-- +goose Up
-- The event log and its companions. Every statement names its columns: older and newer binaries run side by side.

CREATE SCHEMA IF NOT EXISTS annals;

-- Two roles beside the owner, where the server lets us create them: annals_app runs the program and can't change
-- history; annals_query serves reads behind row-level security. Roles belong to the cluster, so that another database
-- may have created them already, or be creating them at this instant.
-- +goose StatementBegin
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['annals_app', 'annals_query'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
            END IF;
            IF NOT pg_has_role(current_user, role_name, 'MEMBER') THEN
                EXECUTE format('GRANT %I TO CURRENT_USER', role_name);
            END IF;
        EXCEPTION
            WHEN insufficient_privilege OR duplicate_object OR unique_violation THEN
                RAISE NOTICE 'role % not created: %', role_name, SQLERRM;
        END;
    END LOOP;
END
$$;
-- +goose StatementEnd

-- The truth. Positions are dense and in commit order; append_v1 is the only writer.
-- json and not jsonb: the exact bytes are kept, which proofs commit to.
CREATE TABLE annals.events (
    position          bigint      NOT NULL,
    event_id          uuid        NOT NULL,
    aggregate_id      uuid        NOT NULL,
    aggregate_version bigint      NOT NULL,
    occurred_at       timestamptz NOT NULL,
    recorded_at       timestamptz NOT NULL,
    schema_version    integer     NOT NULL,
    leaf_version      smallint    NOT NULL DEFAULT 1,
    event_type        text        NOT NULL,
    aggregate_type    text        NOT NULL,
    client_id         text        NOT NULL,
    actor_id          text        NOT NULL,
    correlation_id    text        NOT NULL,
    causation_id      text        NOT NULL,
    request_id        text        NOT NULL,
    data              json        NOT NULL,
    metadata          json        NOT NULL,
    data_salt         bytea       NOT NULL,
    metadata_salt     bytea       NOT NULL,
    CONSTRAINT events_pkey PRIMARY KEY (position),
    -- Aggregate ids are unique over all types and clients, so that this narrow key matches the version probe exactly.
    CONSTRAINT events_stream_key UNIQUE (aggregate_id, aggregate_version)
);

-- +goose StatementBegin
CREATE FUNCTION annals.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the event log is append-only: % on annals.% is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$$;
-- +goose StatementEnd

CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON annals.events
    FOR EACH STATEMENT EXECUTE FUNCTION annals.refuse_change();

-- Values that one stream of a client holds alone, such as a product's sku.
CREATE TABLE annals.unique_claims (
    client_id text NOT NULL,
    kind      text NOT NULL,
    value     text NOT NULL,
    owner_id  uuid NOT NULL,
    CONSTRAINT unique_claims_pkey PRIMARY KEY (client_id, kind, value)
);

-- What a command answered, so that its repeat answers the same. Bodies are rendered again from result.
CREATE TABLE annals.idempotency_keys (
    client_id      text        NOT NULL,
    scope          text        NOT NULL,
    key            text        NOT NULL,
    fingerprint    bytea       NOT NULL,
    first_position bigint,              -- null: the command changed nothing
    result         json        NOT NULL,
    created_at     timestamptz NOT NULL,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (client_id, scope, key)
);
CREATE INDEX idempotency_keys_created_at_idx ON annals.idempotency_keys (created_at);

-- States of long streams, written after the commit. Derived: any row may be lost.
CREATE TABLE annals.snapshots (
    aggregate_id   uuid        NOT NULL,
    aggregate_type text        NOT NULL,
    client_id      text        NOT NULL,
    version        bigint      NOT NULL,
    position       bigint      NOT NULL,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    fingerprint    text        NOT NULL,
    state          json        NOT NULL,
    CONSTRAINT snapshots_pkey PRIMARY KEY (aggregate_id)
);

-- What the log knows of the server it lives on: a change of either is recorded as an event.
CREATE TABLE annals.incarnation (
    singleton         boolean NOT NULL DEFAULT true CHECK (singleton),
    system_identifier bigint  NOT NULL,
    timeline          integer NOT NULL,
    CONSTRAINT incarnation_pkey PRIMARY KEY (singleton)
);

-- The oldest schema generation a binary must know to work on this database.
CREATE TABLE annals.compatibility (
    singleton  boolean NOT NULL DEFAULT true CHECK (singleton),
    min_binary integer NOT NULL,
    CONSTRAINT compatibility_pkey PRIMARY KEY (singleton)
);
INSERT INTO annals.compatibility (min_binary) VALUES (1);

-- Readers see the events of the client their transaction names, auditors of all ('*'); no name, no rows.
ALTER TABLE annals.events ENABLE ROW LEVEL SECURITY;

-- +goose StatementBegin
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'annals_app') THEN
        GRANT USAGE ON SCHEMA annals TO annals_app;
        GRANT SELECT ON annals.events TO annals_app;
        GRANT SELECT ON annals.unique_claims TO annals_app;
        GRANT SELECT, DELETE ON annals.idempotency_keys TO annals_app;
        GRANT SELECT, INSERT, UPDATE, DELETE ON annals.snapshots TO annals_app;
        GRANT SELECT, INSERT, UPDATE ON annals.incarnation TO annals_app;
        GRANT SELECT ON annals.compatibility TO annals_app;
        CREATE POLICY events_app ON annals.events TO annals_app USING (true);
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'annals_query') THEN
        GRANT USAGE ON SCHEMA annals TO annals_query;
        GRANT SELECT ON annals.events TO annals_query;
        CREATE POLICY events_client ON annals.events FOR SELECT TO annals_query
            USING (client_id = current_setting('annals.client', true)
                   OR current_setting('annals.client', true) = '*');
    END IF;
END
$$;
-- +goose StatementEnd

-- +goose Down
DROP SCHEMA annals CASCADE;
